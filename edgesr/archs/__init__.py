"""The networks, one file per family, and the one ordered list of them.

This module imports no torch: `edgesr models` and every `--help` read the list. A new network is a
builder in its family's file and an entry here; detection reads the rest from the net itself.
"""

from edgesr.registry import ArchSpec, PublishedWeights, ordered

# The addresses name a commit, so that what lies there cannot change; the digests pin the content.
_RTC = PublishedWeights(
    filename="model_RTC.pth",
    project="github.com/Zheng222/IMDN",
    url=(
        "https://raw.githubusercontent.com/Zheng222/IMDN/"
        "4b177227a2ac74a342c367da6ad582c5b76cc078/checkpoints/model_RTC.pth"
    ),
    sha256="5696ca25971477a93f2a3f3b235039e30afefff1bb560efdc48c0f880635a2ab",
    licence="none stated",
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
_FMEN_S_NTIRE = PublishedWeights(
    filename="team03_fmen.pth",
    project="github.com/ofsoundof/NTIRE2022_ESR",
    url=(
        "https://raw.githubusercontent.com/ofsoundof/NTIRE2022_ESR/"
        "044c9300a60595a11c4a921d335f5694187c17d0/model_zoo/team03_fmen.pth"
    ),
    sha256="f20cde0828068c5f50d3b64aa82c8a363fe6abc8d536d1a9fd4d09899f019bea",
    licence="MIT",
)

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
        builder="edgesr.archs.imdn_rtc:imdn_rtc",
        has_training_form=True,
        published=_RTC,
    ),
    ArchSpec(
        name="fmen-s",
        aliases=(),
        description="FMEN's challenge member: 50 channels, attention branches, re-parameterised",
        scale=4,
        parameters=341_066,
        receptive_radius=34,
        value_range=255.0,
        builder="edgesr.archs.fmen:fmen_s",
        has_training_form=True,
        renames=((r"^basic_blocks\.", "ERBs."), (r"^hfabs\.", "HFABs.")),
        published=_FMEN_S,
        also_published=(_FMEN_S_NTIRE,),
    ),
)
