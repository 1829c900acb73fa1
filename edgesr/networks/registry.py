"""The networks, one file per family, and the one ordered list of them.

This module imports no torch: `edgesr models` and every `--help` read the list. A new network is a
builder in its family's file and an entry here; detection reads the rest from the net itself. Where
a family has a reader of sizes, networks of other widths, depths and scales need no entry.
"""

from edgesr.networks.hyperparameters import Family
from edgesr.networks.spec import ArchSpec, PublishedWeights, ordered

# The addresses name a commit, so that what lies there cannot change; the digests pin the content.
_IMDN_PROJECT = "github.com/Zheng222/IMDN"
_NTIRE_PROJECT = "github.com/ofsoundof/NTIRE2022_ESR"


def _imdn(filename: str, commit: str, sha256: str) -> PublishedWeights:
    """A checkpoint of the IMDN family's authors."""
    return PublishedWeights(
        filename=filename,
        project=_IMDN_PROJECT,
        url=f"https://raw.githubusercontent.com/Zheng222/IMDN/{commit}/checkpoints/{filename}",
        sha256=sha256,
        licence="none stated",
    )


def _ntire(filename: str, sha256: str) -> PublishedWeights:
    """A checkpoint of the 2022 challenge on efficient super-resolution."""
    return PublishedWeights(
        filename=filename,
        project=_NTIRE_PROJECT,
        url=(
            "https://raw.githubusercontent.com/ofsoundof/NTIRE2022_ESR/"
            f"044c9300a60595a11c4a921d335f5694187c17d0/model_zoo/{filename}"
        ),
        sha256=sha256,
        licence="MIT",
    )


_RTC = _imdn(
    "model_RTC.pth",
    "4b177227a2ac74a342c367da6ad582c5b76cc078",
    "5696ca25971477a93f2a3f3b235039e30afefff1bb560efdc48c0f880635a2ab",
)
_IMDN_COMMIT = "f8a43074c7c8ea33ea7c33ce43a698c086007fd0"
_IMDN_X2 = _imdn(
    "IMDN_x2.pth",
    _IMDN_COMMIT,
    "740b39653592bd3f49955a21cd9e16f2d37f2c413368cc09327601b8fbe42ce1",
)
_IMDN_X4 = _imdn(
    "IMDN_x4.pth",
    _IMDN_COMMIT,
    "e660c38221147217a136debeb99eb304d62d9c0f73ac421ed66281b619719714",
)
_FMEN_S = PublishedWeights(
    filename="fmen_test_weights.pt",
    project="github.com/NJU-Jet/FMEN",
    url=(
        "https://raw.githubusercontent.com/NJU-Jet/FMEN/"
        "a1def169d0e2c99ecebdb1b08bf567f329c3a566/test_weights.pt"
    ),
    sha256="d5534eba1feacfdd4043d9175d3bf0730b1ab4c91ba5c3f40a2282cd496fb4a5",
    licence="Apache-2.0",
)
# The challenge's own training of the same network, with other names for the blocks.
_FMEN_S_NTIRE = _ntire(
    "team03_fmen.pth", "f20cde0828068c5f50d3b64aa82c8a363fe6abc8d536d1a9fd4d09899f019bea"
)
_BASELINE = _ntire(
    "imdn_baseline.pth", "115b4cc557eba9daaf1a6543c4858014c7e2a410655aafef7c8348ae54acc203"
)
_CLB = _ntire(
    "team26_imdn_nb7.pth", "c8bd64b7eebe5d955c00fb5626385e13fa5775518be77a265f3f74b5e33e55a7"
)
_PLUS = _ntire(
    "team39_imdn_plus.pth", "0051dcbeb82684fef3981eff81df86bb167b8f9602323fa37f82f8c5566ff5a9"
)

# The challenge names the parts of a distillation block otherwise than the family's authors.
_BLOCK_NAMES = (
    (r"\.conv([123])\.0\.", r".c\1."),
    (r"\.conv4\.", ".c4."),
    (r"\.conv1x1\.", ".c5."),
)
_FMEN_NAMES = ((r"^basic_blocks\.", "ERBs."), (r"^hfabs\.", "HFABs."))

# FMEN-S is an FMEN of other sizes.
_FMEN_FAMILY = Family("fmen", "edgesr.networks.architectures.fmen:read_sizes")

#: Every network edgesr knows. Where two would take the same checkpoint, the first one gets it.
SPECS: tuple[ArchSpec, ...] = ordered(
    ArchSpec(
        name="imdn-rtc",
        aliases=("rtc",),
        description="IMDN's real-time member: 12 channels, five distillation blocks",
        scale=2,
        parameters=20_190,
        receptive_radius=22,
        value_range=1.0,
        builder="edgesr.networks.architectures.imdn_rtc:imdn_rtc",
        has_training_form=True,
        published=_RTC,
        family=Family("imdn-rtc", "edgesr.networks.architectures.imdn_rtc:read_sizes"),
    ),
    ArchSpec(
        name="imdn-rte",
        aliases=("rte",),
        description="IMDN's real-time enhancement member: 20 channels at half the resolution",
        scale=2,
        parameters=89_748,
        receptive_radius=77,
        # Of its published weights: 35.42 dB on Set5 x2 at 255, 17.5 at 1.
        value_range=255.0,
        size_multiple=2,
        builder="edgesr.networks.architectures.imdn_rte:imdn_rte",
        family=Family("imdn-rte", "edgesr.networks.architectures.imdn_rte:read_sizes"),
    ),
    *(
        ArchSpec(
            name="imdn",
            aliases=(),
            description="IMDN: 64 channels, six distillation blocks, contrast-aware attention",
            scale=scale,
            parameters=parameters,
            receptive_radius=27,
            value_range=1.0,
            whole_image=True,
            builder="edgesr.networks.architectures.imdn:imdn",
            published=published,
            family=Family("imdn", "edgesr.networks.architectures.imdn:read_sizes"),
        )
        for scale, parameters, published in (
            (2, 694_404, _IMDN_X2),
            (3, 703_059, None),
            (4, 715_176, _IMDN_X4),
        )
    ),
    ArchSpec(
        name="imdn-as",
        aliases=(),
        description="IMDN for any factor: takes an image that was resized to its final size",
        scale=1,
        parameters=752_104,
        receptive_radius=110,
        value_range=1.0,
        size_multiple=4,
        whole_image=True,
        builder="edgesr.networks.architectures.imdn:imdn_as",
        family=Family("imdn-as", "edgesr.networks.architectures.imdn:read_as_sizes"),
    ),
    ArchSpec(
        name="imdn-baseline",
        aliases=(),
        description="The 2022 challenge's baseline: IMDN with eight blocks, no attention",
        scale=4,
        parameters=893_936,
        receptive_radius=35,
        value_range=1.0,
        builder="edgesr.networks.architectures.imdn_challenge:imdn_baseline",
        renames=_BLOCK_NAMES,
        published=_BASELINE,
        family=Family(
            "imdn-baseline", "edgesr.networks.architectures.imdn_challenge:read_simplified_sizes"
        ),
    ),
    ArchSpec(
        name="imdn-clb",
        aliases=(),
        description="The baseline with seven blocks, trained as collapsible linear blocks",
        scale=4,
        parameters=790_496,
        receptive_radius=31,
        value_range=1.0,
        builder="edgesr.networks.architectures.imdn_challenge:imdn_clb",
        has_training_form=True,
        renames=_BLOCK_NAMES,
        published=_CLB,
        family=Family(
            "imdn-clb", "edgesr.networks.architectures.imdn_challenge:read_simplified_sizes"
        ),
    ),
    ArchSpec(
        name="imdn-plus",
        aliases=(),
        description="IMDN+: 36 channels, eight blocks of progressive splits, SiLU",
        scale=4,
        parameters=275_844,
        receptive_radius=51,
        value_range=1.0,
        builder="edgesr.networks.architectures.imdn_challenge:imdn_plus",
        has_training_form=True,
        published=_PLUS,
        family=Family("imdn-plus", "edgesr.networks.architectures.imdn_challenge:read_plus_sizes"),
    ),
    ArchSpec(
        name="fmen-s",
        aliases=(),
        description="FMEN's challenge member: 50 channels, attention branches, re-parameterised",
        scale=4,
        parameters=341_066,
        receptive_radius=34,
        value_range=255.0,
        builder="edgesr.networks.architectures.fmen:fmen_s",
        has_training_form=True,
        renames=_FMEN_NAMES,
        published=_FMEN_S,
        also_published=(_FMEN_S_NTIRE,),
        family=_FMEN_FAMILY,
    ),
    *(
        ArchSpec(
            name="fmen",
            aliases=(),
            description="FMEN: 64 channels, attention branches, re-parameterised",
            scale=scale,
            parameters=parameters,
            receptive_radius=44,
            value_range=255.0,
            builder="edgesr.networks.architectures.fmen:fmen",
            has_training_form=True,
            renames=_FMEN_NAMES,
            family=_FMEN_FAMILY,
        )
        for scale, parameters in ((2, 748_656), (3, 757_311), (4, 769_428))
    ),
)
