"""Distillation: targets from published networks, computed once into the memory-mapped store.

A small network learns faster what larger ones make of an LR image than the HR image itself, most of
whose detail nothing in the LR image tells of. And an image that has no HR becomes one to learn
from. No weights are copied.

Targets are mixed with HR before any training step. For a squared error that is the same as the
weighted sum of the errors against both, up to a summand that no weight changes.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2; the ensemble
over the symmetries of the square is that of Timofte et al., "Seven Ways to Improve Example-Based
Single Image Super Resolution", CVPR 2016, section 3.6.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgesr.common.files import atomic_outputs
from edgesr.common.progress import ProgressCallback, silent
from edgesr.images.datasets import Uint8Array
from edgesr.networks.spec import find_spec
from edgesr.training.data.store import ImageStore, open_pixels
from edgesr.training.recipe import Recipe, Teacher
from edgesr.weights.checkpoints import load
from edgesr.weights.download import published_checkpoint


@dataclass(frozen=True, eq=False)
class TeacherNet:
    """A published network that gives targets.

    Attributes:
        name: Of the network.
        sha256: Of the file of its weights.
        net: The network, which gives `scale` times the size.
        value_range: Its values lie in [0, value_range].
    """

    name: str
    sha256: str
    net: nn.Module
    value_range: float


def published_teachers(
    teacher: Teacher, scale: int, progress: ProgressCallback = silent
) -> list[TeacherNet]:
    """The networks that a recipe names, with their authors' weights.

    Raises:
        ArchitectureError: There is no such network at that scale.
        DownloadError: Its weights cannot be had.
    """
    nets: list[TeacherNet] = []
    for name in teacher.networks:
        spec = find_spec(name, scale)
        loaded = load(published_checkpoint(spec, progress), spec.name, spec.scale)
        net = loaded.net.eval().requires_grad_(requires_grad=False)
        nets.append(TeacherNet(spec.name, loaded.sha256, net, spec.value_range))
    return nets


def taught(
    store: ImageStore,
    recipe: Recipe,
    teachers: Sequence[TeacherNet],
    cache: Path,
    device: torch.device,
    progress: ProgressCallback = silent,
) -> ImageStore:
    """The images with targets in place of HR, and those that only a teacher gives HR to.

    Args:
        store: The training images in all their sizes.
        recipe: Has a teacher.
        teachers: Its networks.
        cache: Folder that keeps the targets for another training on the same images.
        device: Where the networks run.
        progress: Called with images done.

    Returns:
        A store in which every image is there in one size only.

    Raises:
        OutputError: The cache cannot be written.
    """
    teacher = recipe.teacher
    assert teacher is not None
    path = cache / f"x{store.scale}-{_key(store, recipe, teachers)}.targets"
    lessons = list(_lessons(store, recipe, teacher))
    if not path.is_file():
        nets = [replace(one, net=one.net.to(device)) for one in teachers]
        with atomic_outputs([path], overwrite=True) as (temporary,), temporary.open("wb") as file:
            for done, lesson in enumerate(lessons):
                progress("targets", done, len(lessons))
                file.write(_target(lesson, teacher, nets, device).tobytes())
                file.write(np.ascontiguousarray(lesson.lr_hwc_u8).tobytes())
            progress("targets", len(lessons), len(lessons))
    sizes = np.array([lesson.lr_hwc_u8.shape[:2] for lesson in lessons], np.int64)
    files = tuple(lesson.file for lesson in lessons)
    return ImageStore(store.scale, files, sizes, open_pixels(path))


@dataclass(frozen=True, eq=False)
class _Lesson:
    """An LR image, HR if there is one, and the ensemble's symmetries; none: HR is the target."""

    file: Path
    lr_hwc_u8: Uint8Array
    hr_hwc_u8: Uint8Array | None
    symmetries: int


def _lessons(store: ImageStore, recipe: Recipe, teacher: Teacher) -> Iterator[_Lesson]:
    unlabelled = {1 + recipe.reductions.index(factor) for factor in teacher.unlabelled}
    for index, file in enumerate(store.files):
        lr_hwc_u8, hr_hwc_u8 = store.lr(index), store.hr(index)
        if not set(teacher.untaught).isdisjoint(file.parts):
            yield _Lesson(file, lr_hwc_u8, hr_hwc_u8, 0)
            continue
        yield _Lesson(file, lr_hwc_u8, hr_hwc_u8, teacher.symmetries)
        if index % store.sizes_of_each in unlabelled:
            yield _Lesson(file, hr_hwc_u8, None, teacher.unlabelled_symmetries)


def _target(
    lesson: _Lesson, teacher: Teacher, nets: Sequence[TeacherNet], device: torch.device
) -> Uint8Array:
    if not lesson.symmetries:
        assert lesson.hr_hwc_u8 is not None
        return np.ascontiguousarray(lesson.hr_hwc_u8)
    lr_nchw = torch.from_numpy(np.array(lesson.lr_hwc_u8)).to(device).permute(2, 0, 1)[None]
    target_nchw = ensemble(nets, lr_nchw.float(), lesson.symmetries)
    if lesson.hr_hwc_u8 is not None:
        hr_nchw = torch.from_numpy(np.array(lesson.hr_hwc_u8)).to(device).permute(2, 0, 1)[None]
        target_nchw = torch.lerp(target_nchw, hr_nchw.float(), teacher.hr_share)
    rounded = target_nchw[0].permute(1, 2, 0).round().clamp(0, 255)
    return np.ascontiguousarray(rounded.to(torch.uint8).cpu().numpy())


@torch.no_grad()
def ensemble(nets: Sequence[TeacherNet], lr_nchw: Tensor, symmetries: int = 8) -> Tensor:
    """The mean of what networks make of an image in some of the symmetries of the square.

    Args:
        nets: One or more.
        lr_nchw: In [0, 255].
        symmetries: 1 to 8; the first is the image as it is.

    Returns:
        N x 3 x (scale H) x (scale W) in about [0, 255], not rounded.
    """
    outputs = (
        _turned(one.net, symmetry)(lr_nchw * (one.value_range / 255)) * (255 / one.value_range)
        for one in nets
        for symmetry in range(symmetries)
    )
    total = next(outputs)
    for output in outputs:
        total = total + output
    return total / (len(nets) * symmetries)


def _turned(net: nn.Module, symmetry: int) -> Callable[[Tensor], Tensor]:
    """The network between a symmetry and its inverse: bit 0 rows, 1 columns, 2 transposed."""
    flipped = [dim for bit, dim in ((1, 2), (2, 3)) if symmetry & bit]

    def run(x_nchw: Tensor) -> Tensor:
        turned = x_nchw.flip(flipped)
        if not symmetry & 4:
            return net(turned).flip(flipped)
        return net(turned.transpose(2, 3)).transpose(2, 3).flip(flipped)

    return run


def _key(store: ImageStore, recipe: Recipe, teachers: Sequence[TeacherNet]) -> str:
    assert recipe.teacher is not None
    digest = hashlib.sha256(np.ascontiguousarray(store.lr_sizes, "<i8").tobytes())
    digest.update(store.pixels_u8.data)
    digest.update(recipe.teacher.model_dump_json().encode())
    digest.update(repr([(one.name, one.sha256) for one in teachers]).encode())
    return digest.hexdigest()[:32]
