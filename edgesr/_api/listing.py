"""The networks that edgesr knows: `list_models`. Loads neither numpy nor torch."""

from dataclasses import dataclass
from pathlib import Path

from edgesr.networks.spec import ArchSpec, PublishedWeights, all_specs
from edgesr.weights.bundled import (
    BundledWeights,
    TiledQuality,
    bundled_weights,
    published_psnr,
    shipped_file,
    tiled_quality,
)


@dataclass(frozen=True)
class ModelInfo:
    """A network that edgesr knows, at one scale.

    Attributes:
        name: Its name, shared by the scales of a family.
        aliases: Other names.
        description: One line.
        scale: Upscaling factor.
        parameters: Parameters of the plain (folded) form.
        receptive_field: Side of the square of LR pixels that an output pixel depends on; of the
            rest where `whole_image`.
        whole_image: Whether statistics over all pixels enter every pixel.
        size_multiple: What height and width of the input must be multiples of.
        tiled: PSNR of tiles against whole images; None where tiles are exact, or it was not
            measured.
        value_range: The checkpoint's own range is [0, value_range].
        has_training_form: Whether it trains in a larger form that folds into the plain one.
        bundled: The weights that come with edgesr; None if there are none.
        published: The weights of the network's authors, the default ones first.
        published_psnr_db: For each of those, name of a benchmark set -> mean PSNR on Y; empty where
            it was not measured.
        file: The FP16 `.tflite` that comes with edgesr; None if there is none.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    scale: int
    parameters: int
    receptive_field: int
    whole_image: bool
    size_multiple: int
    tiled: TiledQuality | None
    value_range: float
    has_training_form: bool
    bundled: BundledWeights | None
    published: tuple[PublishedWeights, ...]
    published_psnr_db: tuple[dict[str, float], ...]
    file: Path | None


def list_models() -> tuple[ModelInfo, ...]:
    """List the networks that edgesr knows, one entry per scale.

    Raises:
        CheckpointError: The record of bundled weights is damaged.

    Examples:
        >>> import edgesr
        >>> rtc = next(m for m in edgesr.list_models() if "rtc" in m.aliases)
        >>> rtc.name, rtc.scale, rtc.parameters, rtc.receptive_field
        ('imdn-rtc', 2, 20190, 45)
    """
    return tuple(_info(spec) for spec in all_specs())


def _info(spec: ArchSpec) -> ModelInfo:
    return ModelInfo(
        name=spec.name,
        aliases=spec.aliases,
        description=spec.description,
        scale=spec.scale,
        parameters=spec.parameters,
        receptive_field=2 * spec.receptive_radius + 1,
        whole_image=spec.whole_image,
        size_multiple=spec.size_multiple,
        tiled=tiled_quality(spec.name, spec.scale),
        value_range=spec.value_range,
        has_training_form=spec.has_training_form,
        bundled=bundled_weights(spec),
        published=spec.all_published,
        published_psnr_db=tuple(published_psnr(w.sha256) for w in spec.all_published),
        file=shipped_file(spec),
    )
