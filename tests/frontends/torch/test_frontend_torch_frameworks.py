"""Training with `gradwise.frontends.torch.AdamW` under Hugging Face's Trainer, Lightning and Accelerate.

`make frameworks` installs these and runs this file. Each run is repeated with torch's AdamW, whose losses ours must
give.
"""

from __future__ import annotations

import pytest
from helpers.torch_frontend_table import ours, theirs

pytestmark = [
    pytest.mark.torch,
    pytest.mark.frameworks,
    # The frameworks, and what they import, use deprecated functions of torch, Python and each other.
    pytest.mark.filterwarnings("ignore"),
]

WHOSE = (ours, theirs)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Nothing is looked up or reported anywhere."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)


def agree(found):
    mine, other = found
    assert len(mine) == len(other) > 2
    assert mine == pytest.approx(other, rel=1e-5)
    assert mine[-1] < mine[0]


# -------------------------------------------------------------------- Hugging Face


def sentences():
    import torch

    tokens = torch.randint(0, 32, (32, 8), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": row} for row in tokens]


def small_model():
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    dropouts = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0, **dropouts
        )
    )


def losses_of(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def arguments(folder, **more):
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        logging_steps=1,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        seed=1,
        **{"max_steps": 6, "save_strategy": "no", **more},
    )


@pytest.mark.parametrize("way", ["optimizers", "optimizer_cls_and_kwargs"])
def test_trainer_of_hugging_face(tmp_path, way):
    from transformers import Trainer

    found = []
    for whose in WHOSE:
        model = small_model()
        if way == "optimizers":
            given = {"optimizers": (whose("AdamW")(model.parameters(), lr=1e-2), None)}
        else:
            given = {"optimizer_cls_and_kwargs": (whose("AdamW"), {"lr": 1e-2})}
        trainer = Trainer(model=model, args=arguments(tmp_path), train_dataset=sentences(), **given)
        trainer.train()
        assert whose("AdamW").__module__ in [kind.__module__ for kind in type(inner(trainer.optimizer)).__mro__]
        found.append(losses_of(trainer))
    agree(found)


def inner(optimizer):
    """What Accelerate has wrapped."""
    return getattr(optimizer, "optimizer", optimizer)


def test_trainer_of_hugging_face_resumes(tmp_path):
    from transformers import Trainer

    def trainer(folder, **more):
        model = small_model()
        optimizer = ours("AdamW")(model.parameters(), lr=1e-2)
        given = arguments(folder, **more)
        return Trainer(model=model, args=given, train_dataset=sentences(), optimizers=(optimizer, None))

    whole = trainer(tmp_path, save_strategy="steps", save_steps=3)
    whole.train()
    again = trainer(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert losses_of(again)[-3:] == pytest.approx(losses_of(whole)[-3:], rel=1e-5)


# -------------------------------------------------------------------- Lightning


def lightning_module(optimizer_class, seen):
    import lightning
    import torch

    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            loss = (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()
            seen.append(float(loss.detach()))
            return loss

        def configure_optimizers(self):
            optimizer = optimizer_class(self.parameters(), lr=0.05)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    torch.manual_seed(0)
    return Regression()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_trainer_of_lightning(tmp_path, precision):
    import lightning
    import torch

    found = []
    batches = torch.randn(8, 16, 4, generator=torch.Generator().manual_seed(0))
    for whose in WHOSE:
        seen = []
        module = lightning_module(whose("AdamW"), seen)
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            precision=precision,
            gradient_clip_val=1.0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, torch.utils.data.DataLoader(list(batches), batch_size=None))
        assert float(trainer.optimizers[0].state[module.layer.weight]["step"]) == 16
        # And a checkpoint of it goes on.
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        longer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        again = lightning_module(whose("AdamW"), seen)
        longer.fit(again, torch.utils.data.DataLoader(list(batches), batch_size=None), ckpt_path=tmp_path / "end.ckpt")
        assert float(longer.optimizers[0].state[again.layer.weight]["step"]) == 24
        found.append(seen)
    agree(found)


# -------------------------------------------------------------------- Accelerate


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_accelerate(tmp_path, precision):
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    found = []
    for whose in WHOSE:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        torch.manual_seed(0)
        accelerator = Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=2)
        model = torch.nn.Linear(4, 1)
        optimizer = whose("AdamW")(model.parameters(), lr=0.05)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        data = torch.utils.data.DataLoader(list(torch.randn(96, 4)), batch_size=8)
        model, optimizer, data, scheduler = accelerator.prepare(model, optimizer, data, scheduler)
        seen = []
        for batch in data:
            with accelerator.accumulate(model):
                loss = (model(batch) - batch.sum(1, keepdim=True)).float().square().mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            seen.append(float(loss.detach()))
        accelerator.save_state(tmp_path / whose.__name__)
        before = [p.detach().clone() for p in model.parameters()]
        count = float(next(iter(optimizer.state.values()))["step"])
        with torch.no_grad():
            for changed in (*model.parameters(), *(state["step"] for state in optimizer.state.values())):
                changed.zero_()
        accelerator.load_state(tmp_path / whose.__name__)
        assert all(torch.equal(x, y) for x, y in zip(before, model.parameters(), strict=True))
        assert float(next(iter(optimizer.state.values()))["step"]) == count == 6
        found.append(seen)
    agree(found)
