"""A training run put together: models, data, fixed pairs for validation and pictures, and the state; then trained.

Whoever starts it (one process, or one of Ray's workers) says where it stands (`Worker`) and who hears of it (`Reporter`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sheap.bundle import SHIPPED_MODEL, BundleConfig, HeadReference, Preprocessing, load_bundle, save_bundle
from sheap.data.addresses import read_manifest
from sheap.data.augment import AugmentParams
from sheap.data.batches import BatchPlan, MakeBatches, indexed_batches, mixed_batches
from sheap.data.frames import Pairs
from sheap.data.landmark_mirror import LANDMARK_MIRROR
from sheap.data.pairs import PairDataset
from sheap.data.reader import ShardReader
from sheap.data.remote import is_address
from sheap.data.schema import TruthLayout
from sheap.data.streaming import StreamedSplit, streamed_batches
from sheap.data.truth import TruthMirror, WantedTruth
from sheap.geometry.cameras import published_camera
from sheap.head import HeadModel
from sheap.head.door import head_sha256
from sheap.head.params import JOINT_NAMES
from sheap.losses.lpips import Lpips
from sheap.losses.shape_metric import ShapeMetric
from sheap.networks.dinov2 import Dinov2Features
from sheap.networks.encoder import TokenEncoder
from sheap.networks.encoder_weights import load_encoder_weights
from sheap.networks.face_mesh_weights import load_face_mesh_weights
from sheap.networks.sheap_network import SheapNetwork, start_translation_for
from sheap.precision import resolve_precision, set_compute_dtype
from sheap.training.compilation import compile_encoder
from sheap.training.config import RunConfig
from sheap.training.landmark_head import landmark_head
from sheap.training.loop import Reporter, Worker, run_training
from sheap.training.state import TrainingState
from sheap.training.step import Models
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM
from sheap.video.face_models import LANDMARKS_MEMBER, find_bundle, read_bundle_member

BATCH_OF_FIXED_PAIRS = 8


@dataclass(frozen=True)
class RunData:
    """make_batches: the training pairs. validation: batches of held-out pairs. panel_pairs: by split, pairs that are drawn."""

    make_batches: MakeBatches
    validation: list[Pairs]
    panel_pairs: dict[str, Pairs]

    @classmethod
    def open(cls, config: RunConfig, shards: Path | str | None = None) -> RunData:
        """The pairs of a shard folder or address; None: the configuration's.

        Raises ValueError naming what is missing or damaged.
        """
        place = config.data.shards if shards is None else shards
        splits = read_manifest(place).splits
        if "train" not in splits:
            raise ValueError(f"{place}: has no split 'train'; there is nothing to train on")
        if config.data.reading == "streaming":
            return cls._streamed({name: StreamedSplit.open(f"{place}/{name}") for name in splits}, config)
        return cls._indexed({name: split_reader(place, name, config) for name in splits}, config)

    @classmethod
    def _indexed(cls, readers: Mapping[str, ShardReader], config: RunConfig) -> RunData:
        held_out, side, truth = readers.get("val"), config.image_size, wanted_truth(config)
        return cls(
            training_batches(readers["train"], config, truth if config.is_supervised else None),
            [] if held_out is None else fixed_batches(held_out, config.validation_pairs, side, truth),
            {name: one_pair_a_clip(reader, config.panel_pairs, side) for name, reader in readers.items()},
        )

    @classmethod
    def _streamed(cls, splits: Mapping[str, StreamedSplit], config: RunConfig) -> RunData:
        """Pairs for validation and pictures are the first of an unaugmented stream: to choose them would read every shard."""
        truth = wanted_truth(config)

        def first(split: StreamedSplit, count: int, seed: int) -> list[Pairs]:
            plan = BatchPlan(num_samples=count, batch_size=1, seed=seed)
            return list(streamed_pairs(split, config, None, truth)(plan))

        held_out, size = splits.get("val"), BATCH_OF_FIXED_PAIRS
        validation = [] if held_out is None else first(held_out, config.validation_pairs, seed=0)
        return cls(
            streamed_pairs(splits["train"], config, config.pairs.augment, truth if config.is_supervised else None),
            [Pairs.concatenate(validation[k : k + size]) for k in range(0, len(validation), size)],
            {name: Pairs.concatenate(first(split, config.panel_pairs, seed=1)) for name, split in splits.items()},
        )


@dataclass
class TrainingRun:
    """One run on this worker. Seeded: the same configuration starts from the same weights everywhere."""

    config: RunConfig
    models: Models
    state: TrainingState
    worker: Worker

    @classmethod
    def start(
        cls, config: RunConfig, worker: Worker | None = None, *, weights: Mapping[str, Tensor] | None = None
    ) -> TrainingRun:
        """Before the first step. weights: of a network to begin with (see `load_start`), in place of the configuration's
        `start_from`. Raises ValueError naming what a start that does not fit is, or a batch that the workers cannot share."""
        worker = worker or Worker()
        config.require_shares(worker.world_size)
        models = build_models(config, worker.device)
        if weights is None and config.start_from is not None:
            weights = start_weights(config)
        if weights is not None:
            load_start(models.network, weights)
        if config.training.compile:
            compile_encoder(models.network)
        state = TrainingState.start(models.network, config.training, is_trained=weights is not None)
        return cls(config, models, state, worker)

    def train(self, data: RunData, reporter: Reporter) -> SheapNetwork:
        """Trains to the end; gives the averaged network, or the best one where training stops early. After
        `state.restore` it goes on from there."""
        run_training(
            self.models, self.state, self.config.training, data.make_batches, data.validation, self.worker, reporter
        )
        return self.state.average.network

    def averaged_models(self) -> Models:
        """The models with the averaged network."""
        return replace(self.models, network=self.state.average.network)

    def save_model(self, folder: Path, *, half: bool = False) -> None:
        """Writes the averaged network as a bundle (sheap.bundle) into an existing folder; half: in half precision."""
        files, network = self.config.weight_files, self.config.network()
        bundle = BundleConfig(
            network=network,
            image_feature_size=None if self.models.dinov2 is None else self.models.dinov2.size,
            head_model=HeadReference.of(files.head_model),
            preprocessing=Preprocessing(
                image_size=network.encoder.image_size, crop_side_cm=CROP_SIDE_CM, crop_rise_cm=CROP_RISE_CM
            ),
        )
        save_bundle(folder, self.state.average.network, bundle, half=half)


def build_models(config: RunConfig, device: torch.device) -> Models:
    """The network before its first step, and the frozen ones for which weights are named and that are used."""
    files, network_config = config.weight_files, config.network()
    torch.manual_seed(config.training.seed)
    cameras = published_camera(config.image_size)
    head = HeadModel.load(files.head_model)
    dinov2 = None if files.dinov2 is None else Dinov2Features(files.dinov2)
    lpips = None
    if files.lpips_backbone is not None and files.lpips_linear is not None and config.training.weights.lpips > 0:
        lpips = Lpips(files.lpips_backbone, files.lpips_linear)
    network = SheapNetwork(
        network_config,
        head,
        start_translation=start_translation_for(cameras, CROP_SIDE_CM / 100, CROP_RISE_CM / 100),
        image_feature_size=None if dinov2 is None else dinov2.size,
        illumination_prior=files.illumination_prior,
    )
    if isinstance(network.encoder, TokenEncoder) and network.encoder.config.face_points:
        face_mesh = read_bundle_member(find_bundle(files.face_landmarks), LANDMARKS_MEMBER)
        load_face_mesh_weights(network.encoder.face_points.face_mesh, face_mesh)
    if files.encoder is not None:
        load_encoder_weights(network.encoder, files.encoder)
    metric = ShapeMetric(head).to(device) if config.is_judged_by_truth else None
    set_compute_dtype([network, dinov2, lpips], resolve_precision(config.training.precision, device.type))
    return Models(
        network.to(device),
        landmark_head(head).to(device),
        cameras.to(device),
        None if dinov2 is None else dinov2.to(device),
        None if lpips is None else lpips.to(device),
        metric if config.is_supervised else None,
        metric,
    )


def start_weights(config: RunConfig) -> Mapping[str, Tensor]:
    """The weights that `start_from` names. Raises ValueError naming the folder and what does not fit."""
    folder = start_folder(config)
    assert folder is not None
    network, bundle = load_bundle(folder, config.weight_files.head_model)
    if bundle.network.encoder != config.network().encoder:
        raise ValueError(f"train.start_from: {folder}: its encoder is not that of preset '{config.preset}'")
    return network.state_dict()


def start_folder(config: RunConfig) -> Path | None:
    """The model folder that a run begins with, if any."""
    return SHIPPED_MODEL if config.start_from == "shipped" else config.start_from


def load_start(network: SheapNetwork, weights: Mapping[str, Tensor]) -> None:
    """Fills everything but the regressor, whose prototypes another run has moved, from a network's weights.

    Raises ValueError naming the first tensor that does not fit.
    """
    wanted = {name: value for name, value in weights.items() if not name.startswith("regressor.")}
    try:
        left = network.load_state_dict(wanted, strict=False)
    except RuntimeError as error:
        raise ValueError(f"start: does not fit the network ({str(error).splitlines()[1].strip()})") from None
    foreign = [name for name in left.missing_keys if not name.startswith("regressor.")] + left.unexpected_keys
    if foreign:
        raise ValueError(f"start: does not fit the network ({foreign[0]})")


def wanted_truth(config: RunConfig) -> WantedTruth | None:
    """What a run asks of frames that it is taught or judged by; None where truth does neither. Raises ValueError for a head that
    cannot be mirrored, where pictures are."""
    if not config.is_judged_by_truth:
        return None
    path, augment = config.weight_files.head_model, config.pairs.augment
    head = HeadModel.load(path)
    if head.joint_names != JOINT_NAMES or head.num_eyelids == 0:
        raise ValueError("train.supervision: truth is of heads with five joints and eyelids; set it to none for this head model")
    sha256 = head_sha256(path)
    layout = TruthLayout(head_sha256=sha256, num_shape=head.num_shape, num_expression=head.num_expression)
    is_mirrored = config.is_supervised and augment is not None and augment.flip > 0
    return WantedTruth(layout, TruthMirror(head, LANDMARK_MIRROR) if is_mirrored else None)


def split_reader(shards: Path | str, split: str, config: RunConfig, *, verify_hashes: bool = True) -> ShardReader:
    """Random access to one split of a shard folder or address."""
    place = f"{shards}/{split}"
    return ShardReader(
        place if is_address(place) else Path(place), verify_hashes=verify_hashes, cache_dir=config.data.cache_dir
    )


def streamed_pairs(
    split: StreamedSplit, config: RunConfig, augment: AugmentParams | None, truth: WantedTruth | None = None
) -> MakeBatches:
    """The training pairs that the settings ask for, from a stream."""
    return streamed_batches(
        split,
        gap=(config.pairs.least_gap, config.pairs.greatest_gap),
        augment=augment,
        image_size=config.image_size,
        shuffle_clips=config.data.shuffle_clips,
        truth=truth,
    )


def training_batches(reader: ShardReader, config: RunConfig, truth: WantedTruth | None) -> MakeBatches:
    """Batches of the training split, with replayed pairs at their ends where the settings ask for them.

    Raises ValueError where no clip, or every one, carries truth and some shall be replayed.
    """

    def of(clips: Sequence[int] | None) -> MakeBatches:
        return indexed_batches(lambda count, seed: pair_dataset(reader, config, count, seed, truth, clips))

    if config.replay.share == 0:
        return of(None)
    own, known = clips_by_truth(reader)
    if not known:
        raise ValueError(
            f"train.replay.share: no clip of {reader.folder} carries truth, so none can be replayed; set it to 0, or let "
            "rendered people in (corpus.replay_people)"
        )
    if not own:
        raise ValueError(
            f"train.replay.share: every clip of {reader.folder} carries truth, so all would be replayed; set it to 0 with "
            "supervision: truth, or let people in as strangers (corpus.replay_people)"
        )
    return mixed_batches(of(own), of(known), config.replay.pairs_of)


def clips_by_truth(reader: ShardReader) -> tuple[list[int], list[int]]:
    """The numbers of a split's clips without truth, and of those with it."""
    found: tuple[list[int], list[int]] = [], []
    for number in range(len(reader)):
        found[reader.has_truth(number)].append(number)
    return found


def pair_dataset(
    reader: ShardReader,
    config: RunConfig,
    num_samples: int,
    seed: int,
    truth: WantedTruth | None = None,
    clips: Sequence[int] | None = None,
) -> PairDataset:
    """The training pairs that the settings ask for. clips: the numbers of those to draw from; None: all."""
    return PairDataset(
        reader,
        clips=clips,
        num_samples=num_samples,
        seed=seed,
        gap=(config.pairs.least_gap, config.pairs.greatest_gap),
        across_clips=config.pairs.across_clips,
        augment=config.pairs.augment,
        image_size=config.image_size,
        cache_bytes=config.data.frame_cache_mb * 2**20,
        truth=truth,
    )


def fixed_batches(
    reader: ShardReader, num_pairs: int, image_size: int, truth: WantedTruth | None = None
) -> list[Pairs]:
    """The same pairs every time, unaugmented, clip after clip: half of clips with truth where there are both kinds, in batches of
    their own, so that a few strangers count as much as many known people."""
    kinds = [clips for clips in clips_by_truth(reader) if clips]
    batches, size = [], BATCH_OF_FIXED_PAIRS
    for place, clips in enumerate(kinds):
        count = num_pairs // len(kinds) + (place < num_pairs % len(kinds))
        dataset = PairDataset(reader, clips=clips, num_samples=count, seed=0, image_size=image_size, truth=truth)
        samples = [dataset[k] for k in range(count)]
        batches += [Pairs.stack(samples[k : k + size]) for k in range(0, count, size)]
    return batches


def one_pair_a_clip(reader: ShardReader, num_pairs: int, image_size: int) -> Pairs:
    """One pair from each of `num_pairs` clips, taken in turn from every origin, so that real footage is seen beside rendered."""
    by_origin: dict[str, list[int]] = {}
    for number in range(len(reader)):
        by_origin.setdefault(reader.record(number).origin, []).append(number)
    turns = max(len(numbers) for numbers in by_origin.values())
    in_turn = [numbers[turn] for turn in range(turns) for numbers in by_origin.values() if turn < len(numbers)]
    # One epoch holds every clip once, in a shuffled order.
    dataset = PairDataset(reader, num_samples=len(reader), seed=1, image_size=image_size)
    place_of_clip = {dataset.draw(k, np.random.default_rng([1, k]))[0]: k for k in range(len(reader))}
    return Pairs.stack([dataset[place_of_clip[number]] for number in in_turn[:num_pairs]])
