"""A training from folders to weights: data, resumption, processes, the record of it."""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgesr.common.machine import commit, machine
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError, ImageError
from edgesr.evaluation.benchmark_sets import by_bicubic, mean_psnr
from edgesr.images.datasets import Pair, validation_pairs
from edgesr.runtime.session import available_threads
from edgesr.training import state as checkpoint
from edgesr.training.data.store import ImageStore, prepare
from edgesr.training.distributed import Processes, processes
from edgesr.training.folder import RunFolder, write_json
from edgesr.training.loop import Loop, Status
from edgesr.training.recipe import Recipe
from edgesr.training.state import State, first_weights, new_state, numerics
from edgesr.training.teacher import published_teachers, taught
from edgesr.weights.download import cache_folder

# Without a folder of validation images, so many training images are kept from training: one in
# ten, but no more than eight.
_HELD_OUT_SHARE = 10
_HELD_OUT_MOST = 8


class DeviceError(EdgeSRError):
    """The device that was asked for is not there."""


@dataclass(frozen=True)
class Places:
    """Where a training finds and leaves things, and what it runs on.

    Attributes:
        data: Folders of training images.
        output: The folder it fills.
        validation: Folder of validation images; None: some training images are kept aside.
        cache: Where decoded images are kept; None: the user's cache.
        device: "auto" takes a CUDA GPU where there is one.
        threads: CPU threads; None: all, or as many as the training had that is resumed.
        first_weights: File of the weights to begin with; None: random ones. It does change the
            result, and a training is resumed only with the same.
    """

    data: tuple[Path, ...]
    output: Path
    validation: Path | None = None
    cache: Path | None = None
    device: str = "auto"
    threads: int | None = None
    first_weights: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        finished: Whether it reached its end; else it was told to stop.
        step: Steps done.
        steps: Steps in all.
        psnr_db: Of the best averaged weights; None before the first measurement.
        best_step: When these were had.
        bicubic_db: Of bicubic upscaling on the same images.
        seconds: Time spent training and validating, over all resumptions.
        folder: Where everything lies.
    """

    finished: bool
    step: int
    steps: int
    psnr_db: float | None
    best_step: int
    bicubic_db: float
    seconds: float
    folder: Path


def train(
    recipe: Recipe,
    places: Places,
    *,
    resume: bool = False,
    progress: ProgressCallback = silent,
    report: Callable[[Status], None] = lambda status: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train a network, from its beginning or from where the folder's checkpoint stands.

    Under `torchrun` every process calls this; the first one writes. It draws from torch's random
    generators, but leaves them as they were.

    Args:
        recipe: What to do.
        places: Where.
        resume: Whether a training that lies in the output folder is to go on.
        progress: Told how far the images are decoded.
        report: Told how far the training is, at every row of the log.
        should_stop: Asked between steps; then a checkpoint is written, and that is all.

    Raises:
        ArchitectureError: The recipe's network does not exist.
        CheckpointError: The first weights cannot be used.
        DeviceError: There is no such device.
        DivergedError: The loss is no longer finite.
        OutputError: The folder holds something else or cannot be written.
        ImageError: The images cannot be used.
        ResumeError: The folder holds another training.
    """
    device_type = _device_type(places.device)
    threads_before = torch.get_num_threads()
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads_before)
        group = stack.enter_context(processes(device_type))
        device = torch.device(f"cuda:{group.local_rank}" if device_type == "cuda" else "cpu")
        stack.enter_context(torch.random.fork_rng([device.index] if device.type == "cuda" else []))
        stack.enter_context(numerics(recipe, device))
        folder = RunFolder(places.output)
        if group.first:
            folder.check_use(resume=resume)
            stack.enter_context(folder.locked())
        loop = _set_up(recipe, places, folder, device, group, progress)
        loop = replace(loop, report=report, should_stop=should_stop)
        finished = loop.run()
        return _finish(loop, finished=finished)


def _set_up(
    recipe: Recipe,
    places: Places,
    folder: RunFolder,
    device: torch.device,
    group: Processes,
    progress: ProgressCallback,
) -> Loop:
    """Everything before the first step."""
    spec = recipe.spec
    store = prepare(
        places.data,
        spec.scale,
        places.cache or cache_folder() / "train",
        reductions=recipe.reductions,
        progress=progress,
    )
    store, validation = _validation(store, places.validation)
    data = {"training": data_digest(store), "validation": _pairs_digest(validation)}
    images = len(store) // store.sizes_of_each
    teachers = published_teachers(recipe.teacher, spec.scale, progress) if recipe.teacher else []
    if teachers:
        cache = places.cache or cache_folder() / "train"
        # The first process computes; the others find its file.
        if group.first:
            taught(store, recipe, teachers, cache, device, progress)
        group.wait()
        store = taught(store, recipe, teachers, cache, device)
    first = first_weights(places.first_weights, recipe, spec) if places.first_weights else None
    identity = {"recipe": recipe.model_dump(mode="json"), "network": spec.name, "data": data}
    if first is not None:
        identity["first_weights"] = first.origin["sha256"]
    if teachers:
        identity["teachers"] = {one.name: one.sha256 for one in teachers}
    saved = group.from_first(
        checkpoint.load(folder.checkpoint) if group.first and folder.checkpoint.exists() else None
    )
    if saved:
        checkpoint.check_identity(folder.checkpoint, saved["identity"], identity)
    _set_threads(places.threads, saved, group)
    torch.manual_seed(recipe.seed)
    state = new_state(recipe, spec, device, first)
    if saved:
        _restore(state, saved, group, device)
    facts = {
        "model": spec.name,
        "scale": spec.scale,
        "recipe": recipe.model_dump(mode="json"),
        "data": data,
        "commit": commit(),
        "first_weights": first.origin if first is not None else None,
        "training_images": images,
    }
    if teachers:
        facts["teachers"] = identity["teachers"]
    bicubic_psnr = mean_psnr(by_bicubic(spec.scale), validation, spec.scale)
    return Loop(
        recipe, spec, store, validation, folder, identity, device, group, state,
        bicubic_psnr, facts, lambda status: None, lambda: False,
    )  # fmt: skip


def _device_type(asked: str) -> str:
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise DeviceError("got --device cuda, but torch sees no CUDA GPU; use cpu or auto")
    return "cuda" if asked != "cpu" and there else "cpu"


def _set_threads(asked: int | None, saved: Mapping[str, Any] | None, group: Processes) -> None:
    # torchrun gives each of several processes its share already.
    default = available_threads() if group.count == 1 else torch.get_num_threads()
    torch.set_num_threads(asked or (saved["threads"] if saved else default))


def _restore(
    state: State, saved: Mapping[str, Any], group: Processes, device: torch.device
) -> None:
    checkpoint.restore(state, saved, first=group.first)
    # With more processes than before, the new ones go on from the first one's state.
    states: Sequence[Mapping[str, torch.Tensor]] = saved["random"]
    checkpoint.set_random_state(states[min(group.rank, len(states) - 1)], device)


def _validation(store: ImageStore, folder: Path | None) -> tuple[ImageStore, list[Pair]]:
    """The images to train on and those to measure on."""
    if folder is not None:
        return store, validation_pairs(folder, store.scale)
    images = len(store) // store.sizes_of_each
    return hold_out(store, min(_HELD_OUT_MOST, images // _HELD_OUT_SHARE))


def hold_out(store: ImageStore, count: int) -> tuple[ImageStore, list[Pair]]:
    """Keep the last images from training, in all their sizes, to measure on as they are.

    Raises:
        ImageError: The store is too small to spare any.
    """
    each = store.sizes_of_each
    if count < 1:
        raise ImageError(
            f"got {len(store) // each} training images, allowed {_HELD_OUT_SHARE} and more where "
            f"one in {_HELD_OUT_SHARE} is to be measured on; give more, or --val a folder to "
            "measure on"
        )
    kept = len(store) - count * each
    held = [
        Pair(store.files[i].stem, store.lr(i), store.hr(i)) for i in range(kept, len(store), each)
    ]
    end = sum(store.lr(i).size + store.hr(i).size for i in range(kept))
    shorter = replace(
        store,
        files=store.files[:kept],
        lr_sizes=store.lr_sizes[:kept],
        pixels_u8=store.pixels_u8[:end],
    )
    return shorter, held


def data_digest(store: ImageStore) -> str:
    """SHA-256 of all sizes and pixels: two stores of one digest give the same patches."""
    digest = hashlib.sha256(np.ascontiguousarray(store.lr_sizes, "<i8").tobytes())
    digest.update(store.pixels_u8.data)
    return digest.hexdigest()


def _pairs_digest(pairs: Sequence[Pair]) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        for image in (pair.lr_hwc_u8, pair.hr_hwc_u8):
            digest.update(np.array(image.shape, "<i8").tobytes())
            digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def _finish(loop: Loop, *, finished: bool) -> Outcome:
    state = loop.state
    outcome = Outcome(
        finished=finished,
        step=state.step,
        steps=loop.recipe.steps,
        psnr_db=state.best_psnr,
        best_step=state.best_step,
        bicubic_db=loop.bicubic_db,
        seconds=round(state.seconds, 1),
        folder=loop.folder.path,
    )
    if loop.group.first:
        write_json(loop.folder.record, _record(loop, outcome))
    return outcome


def _record(loop: Loop, outcome: Outcome) -> dict[str, Any]:
    """What `run.json` says."""
    result = asdict(outcome)
    del result["folder"]
    return loop.facts | {
        "result": result,
        "validation_images": [pair.name for pair in loop.validation],
        "device": loop.device.type,
        "processes": loop.group.count,
        "threads": torch.get_num_threads(),
        "machine": machine(),
    }
