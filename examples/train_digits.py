"""Trains one small network on real digits with NumPy, PyTorch and JAX side by side, with one optimizer of gradwise.

    python examples/train_digits.py --backend all --optimizer adam

The same initial weights and the same batches on each backend; a table and a picture at the end show loss, accuracy,
time, and how far the backends are apart. `--data FOLDER` trains on MNIST or Fashion-MNIST in their original files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from networks import check_backends
from report import make_console, print_report, progress_bar, save_picture
from training import load_digits, load_idx, make_optimizer, train

# Plain messages: an error stays one line that a log can be searched for.
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    backend: Annotated[str, typer.Option(help="numpy, torch, jax, several with commas between, or all.")] = "all",
    optimizer: Annotated[str, typer.Option(help="The name of an optimizer, in any case.")] = "adam",
    learning_rate: Annotated[float | None, typer.Option(help="Default: one that suits the optimizer here.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: 20, and 5 with --data.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights and the order of the batches.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="A folder with the IDX files of MNIST or Fashion-MNIST, plain or .gz.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to put the picture, a PNG.")] = Path("train_digits.png"),
) -> None:
    """Train one network on several array libraries side by side and show how well they agree."""
    # Everything that can be wrong is found before the training starts.
    try:
        backends = check_backends([name.strip().lower() for name in backend.split(",")])
    except (ValueError, ModuleNotFoundError) as error:
        raise typer.BadParameter(str(error), param_hint="'--backend'") from error
    try:
        make_optimizer(optimizer)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--optimizer'") from error
    try:
        make_optimizer(optimizer, learning_rate)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--learning-rate'") from error
    if not output.absolute().parent.is_dir() or output.is_dir():
        raise typer.BadParameter(f"{output} is not a file in an existing folder.", param_hint="'--output'")
    try:
        dataset = load_digits() if data is None else load_idx(data)
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error), param_hint="'--data'") from error
    count = len(dataset.train_images)
    if batch_size > count:
        raise typer.BadParameter(f"there are only {count} training images.", param_hint="'--batch-size'")

    epochs = epochs or (20 if data is None else 5)
    console = make_console()
    with progress_bar(console, epochs, epochs * (count // batch_size) * len(backends)) as on_step:
        results = train(
            backends,
            dataset,
            optimizer,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            on_step=on_step,
        )
    print_report(console, results)
    save_picture(results, output)
    console.print(f"Picture: {output}", soft_wrap=True)


if __name__ == "__main__":
    app()
