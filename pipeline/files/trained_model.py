"""What `data/model` says about the files that training was given and prediction needs again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files.adaptation import SHIPPED, Adaptation
from pipeline.files.head_files import prepared_transfer, prepared_transfer_between
from sheap.bundle import read_bundle_config

if TYPE_CHECKING:
    from sheap.predictor import SheapPredictor

SUMMARY_NAME = "train.json"


def with_arkit(predictor: SheapPredictor) -> SheapPredictor:
    """The predictor with ARKit's weights: its head's own, or the open head's, carried over once."""
    from sheap.transfer.arkit import ArkitWeights, has_arkit_shapes

    carries = predictor.transfer is not None and has_arkit_shapes(predictor.transfer.a)
    if has_arkit_shapes(predictor.head) or carries:
        return predictor
    from sheap.head import HeadModel

    transfer = prepared_transfer_between(HeadModel.load(), predictor.head)
    return predictor.with_arkit(ArkitWeights(predictor.head, transfer))


def load_trained(
    folder: Path | None, *, head_model: Path | None = None, landmark_model: Path | None = None, head: Path | None = None
) -> SheapPredictor:
    """The predictor, with the head and landmark models of its training where none is given; None: the shipped one.

    head: a head model to answer in, in place of the one of its training. Raises ValueError as trained_file does, and as the
    predictor does when files do not belong together.
    """
    from sheap.predictor import SheapPredictor

    if folder is None:
        predictor = SheapPredictor.load(head_model=head_model, landmark_model=landmark_model)
    else:
        predictor = SheapPredictor.load(
            folder,
            head_model=head_model or trained_head_model(folder),
            landmark_model=landmark_model or trained_file(folder, "face_landmarks"),
        )
    return predictor if head is None else predictor.answering_in(prepared_transfer(predictor.head, head))


def trained_head_model(folder: Path) -> Path | None:
    """The head model file that the model in `folder` was trained with; None for the shipped one.

    (That the file's content is still the same is checked where it is loaded.) Raises ValueError as trained_file does.
    """
    if read_bundle_config(folder).head_model.shipped:
        return None
    path = trained_file(folder, "head_model")
    if path is None:
        summary = folder / SUMMARY_NAME
        raise ValueError(f"{summary}: missing, or without the head model that the model was trained with")
    return path


def load_start(folder: Path) -> tuple[str, SheapPredictor] | None:
    """What the model in `folder` began its training from, with a name for it; None where that was random values.

    Raises ValueError as load_trained does.
    """
    from sheap.predictor import SheapPredictor

    summary = folder / SUMMARY_NAME
    start = json.loads(summary.read_text(encoding="utf-8"))["params"].get("start_from") if summary.is_file() else None
    if start is None:
        return None
    if start == SHIPPED:
        return start, SheapPredictor.load(head_model=trained_head_model(folder))
    return "start", load_trained(Path(start))


def read_adaptation(folder: Path) -> Adaptation | None:
    """What training did with the predictor that it began from; None where it began from random values.

    Raises ValueError naming `train.json` when it says something else.
    """
    summary = folder / SUMMARY_NAME
    if not summary.is_file():
        return None
    try:
        found = json.loads(summary.read_text(encoding="utf-8")).get("adaptation")
        return None if found is None else Adaptation.model_validate(found)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{summary}: adaptation: {' '.join(str(error).split())[:200]}") from None


def trained_file(folder: Path, name: str) -> Path | None:
    """The file that training was given as `weight_files.NAME`; None where it was given none, or `folder` is a bundle.

    Raises ValueError naming the file when `train.json` is broken, or names a file that is gone.
    """
    summary = folder / SUMMARY_NAME
    if not summary.is_file():
        return None
    try:
        named = json.loads(summary.read_text(encoding="utf-8"))["params"]["weight_files"].get(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{summary}: names no weight files ({type(error).__name__}: {error})") from None
    path = Path(named) if named else None
    if path is not None and not path.exists():
        what = name.replace("_", " ")
        raise ValueError(f"{summary}: the {what} that the model was trained with ({named}) is not there any more")
    return path
