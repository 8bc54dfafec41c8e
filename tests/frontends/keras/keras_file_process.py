"""Train a small model and save it, or load what was saved and train on: `keras_file_process.py [ACTION FOLDER]...`.

KERAS_BACKEND names the backend. "save" trains with gradwise's Nadam, saves, and trains on; "load" loads and trains on;
"keras" loads the file with Keras's own Nadam, where gradwise is not imported at all, so it comes first. Each prints the
losses of training on, from the .keras file and, when loading, from the .weights.h5 file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
from each_backend.small import losses, model


def main(action: str, folder: Path) -> None:
    file, weights = folder / "model.keras", folder / "model.weights.h5"
    if action == "keras":
        kind: Any = keras.optimizers.Nadam
        loaded = keras.models.load_model(file, custom_objects={"gradwise>Nadam": kind})
        assert "gradwise" not in sys.modules
    else:
        from gradwise.frontends import keras as gkeras

        kind = gkeras.Nadam
        if action == "save":
            made = model(kind(0.03))
            losses(made)
            made.save(file)
            made.save_weights(weights)
            print(json.dumps([losses(made).tolist()]))
            return
        loaded = keras.models.load_model(file)
    assert isinstance(loaded.optimizer, kind)
    other = model(kind(0.03))
    other.optimizer.build(other.trainable_variables)
    other.load_weights(weights)
    print(json.dumps([losses(loaded).tolist(), losses(other).tolist()]))


if __name__ == "__main__":
    for action, folder in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        main(action, Path(folder))
