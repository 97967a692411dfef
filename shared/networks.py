"""The official networks: what each is, where its weights are, and what they may be used for.

Numbers and names are those of the authors' code and releases; GFLOP count a multiplication and an addition
as two, for a photo of 4:3. Nothing here imports torch or an array library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import SettingsError

_MIDAS = "https://github.com/isl-org/MiDaS/releases/download"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

#: A model that was added from a file has the name `file:N`, where N is as short and plain as this.
_FILE = "file:"
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class Rule(StrEnum):
    """Which size a photo gets for a network, where its aspect ratio is kept. The names are the authors'."""

    #: The longer side becomes `side`.
    UPPER_BOUND = "upper_bound"
    #: The shorter side becomes `side`.
    LOWER_BOUND = "lower_bound"
    #: The side whose factor is nearer to 1 becomes `side`.
    MINIMAL = "minimal"
    #: Both become `side`, whatever the aspect ratio.
    SQUARE = "square"
    #: The height becomes `side` and the width `width`, for a network that takes no other size.
    FIXED = "fixed"


class Near(StrEnum):
    """Where a network's numbers are high, and where low."""

    #: As in relative inverse depth.
    HIGH = "high"
    #: As in distances. Predictions are negated, so that bigger is nearer everywhere else.
    LOW = "low"


class WayBack(StrEnum):
    """How the official code resizes a prediction to the photo's size."""

    CUBIC = "cubic"
    #: Linear, with the corners aligned.
    LINEAR = "linear"


class Tier(StrEnum):
    """What a network is for, in a word."""

    FAST = "fast"
    DETAILED = "detailed"
    BEST = "best"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a photo becomes a network's input. All resize by cubic interpolation."""

    rule: Rule
    side: int
    #: With Rule.FIXED, the width; `side` is the height.
    width: int = 0
    #: Both sides are multiples of this.
    multiple: int
    #: Mean and standard deviation of RGB in [0, 1].
    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]
    #: The longer side at most. The official rules do not bound it; attention grows with its square.
    longest: int
    way_back: WayBack = WayBack.CUBIC


@dataclass(frozen=True, kw_only=True)
class Network:
    """An official network, or a model that was added from a file (`shared.model_registry`)."""

    #: The name in settings and commands.
    name: str
    #: The name in sidecars, as the authors write it.
    title: str
    #: The encoder's name in timm; empty for a file's.
    encoder: str
    preprocessing: Preprocessing
    #: The file, where it is if it is official, and how its SHA-256 starts; empty where nobody published one.
    file: str
    url: str
    sha256: str
    #: Bytes of the file, about.
    megabytes: int
    code_licence: str
    weights_licence: str
    #: What a user should know beside the licence.
    licence_note: str = ""
    parameters: int
    #: 0 for a file's model.
    gflop: float
    #: How many times as long a prediction takes as one of the default network: CPU time, in f32.
    #: `python -m bench.models` measures what images cost, and these follow (`shared.jobs.cost`).
    cost: float
    #: The peak of a child that compiles it in f32 and uses it.
    memory_mb: int
    #: None for a file's.
    tier: Tier | None
    #: When to take it, in a few words.
    suits: str
    #: Entries of an official state dict that the forward pass never uses, by how their names start.
    unused: tuple[str, ...] = ()
    #: Entries of an official state dict that the network here lacks, by how their names end.
    dropped: tuple[str, ...] = ()
    #: Official weights are fetched; only the default has bundled ones too.
    has_starter: bool = False
    #: Height and width of the input of a network that takes no other.
    fixed_size: tuple[int, int] | None = None
    near: Near = Near.HIGH

    @property
    def is_file(self) -> bool:
        """Return whether it was added from a file."""
        return is_file_model(self.name)

    @property
    def is_default(self) -> bool:
        return self.name == MIDAS_SMALL.name


_UNUSED_UNIT = "scratch.refinenet4.resConfUnit1."
_UNUSED_VIT = (_UNUSED_UNIT, "pretrained.model.norm.", "pretrained.model.head.")
_UPPER_384 = Preprocessing(rule=Rule.UPPER_BOUND, side=384, multiple=32, longest=384)
_MINIMAL_384 = Preprocessing(
    rule=Rule.MINIMAL, side=384, multiple=32, mean=_HALF[0], std=_HALF[1], longest=768
)

MIDAS_SMALL = Network(
    name="midas_small",
    title="MiDaS_small",
    encoder="tf_efficientnet_lite3",
    preprocessing=Preprocessing(rule=Rule.UPPER_BOUND, side=256, multiple=32, longest=256),
    file="midas_v21_small_256.pt",
    url=f"{_MIDAS}/v2_1/midas_v21_small_256.pt",
    sha256="70d6b9c8",
    megabytes=86,
    code_licence="MIT",
    weights_licence="MIT",
    parameters=21_320_545,
    gflop=6.9,
    cost=1.0,
    memory_mb=300,
    tier=Tier.FAST,
    suits="whole albums: by far the fastest",
    unused=(_UNUSED_UNIT,),
    has_starter=True,
)

MIDAS_LARGE = Network(
    name="midas_large",
    title="MiDaS v2.1 large",
    encoder="resnext101_32x8d",
    preprocessing=_UPPER_384,
    file="midas_v21_384.pt",
    url=f"{_MIDAS}/v2_1/midas_v21_384.pt",
    sha256="f6b98070",
    megabytes=423,
    code_licence="MIT",
    weights_licence="MIT",
    licence_note=(
        "Its training started from Facebook's WSL-Images weights, which are CC-BY-NC 4.0; "
        "the authors say nothing about that."
    ),
    parameters=105_362_945,
    gflop=155.2,
    cost=31.0,
    memory_mb=1600,
    tier=Tier.DETAILED,
    suits="results to compare with others' MiDaS v2.1",
    unused=(_UNUSED_UNIT,),
)

DPT_HYBRID = Network(
    name="dpt_hybrid",
    title="DPT-Hybrid",
    encoder="vit_base_r50_s16_384",
    preprocessing=_MINIMAL_384,
    file="dpt_hybrid_384.pt",
    url=f"{_MIDAS}/v3/dpt_hybrid_384.pt",
    sha256="501f0c75",
    megabytes=493,
    code_licence="MIT",
    weights_licence="MIT",
    parameters=123_146_985,
    gflop=345.7,
    cost=73.0,
    memory_mb=1400,
    tier=Tier.BEST,
    suits="nearly the detail of DPT-Large at half the time",
    unused=_UNUSED_VIT,
)

DPT_LARGE = Network(
    name="dpt_large",
    title="DPT-Large",
    encoder="vit_large_patch16_384",
    preprocessing=_MINIMAL_384,
    file="dpt_large_384.pt",
    url=f"{_MIDAS}/v3/dpt_large_384.pt",
    sha256="2f21e586",
    megabytes=1376,
    code_licence="MIT",
    weights_licence="MIT",
    parameters=344_055_465,
    gflop=702.8,
    cost=150.0,
    memory_mb=3700,
    tier=Tier.BEST,
    suits="a few photos at the best that MiDaS v3 gives",
    unused=_UNUSED_VIT,
)

DPT_SWIN2_TINY = Network(
    name="dpt_swin2_tiny",
    title="DPT SwinV2-Tiny",
    encoder="swinv2_tiny_window16_256",
    preprocessing=Preprocessing(
        rule=Rule.SQUARE, side=256, multiple=32, mean=_HALF[0], std=_HALF[1], longest=256
    ),
    file="dpt_swin2_tiny_256.pt",
    url=f"{_MIDAS}/v3_1/dpt_swin2_tiny_256.pt",
    sha256="",
    megabytes=167,
    code_licence="MIT",
    weights_licence="MIT",
    parameters=41_701_331,
    gflop=59.6,
    cost=11.0,
    memory_mb=1100,
    tier=Tier.DETAILED,
    suits="between MiDaS_small and the large ones",
    unused=(_UNUSED_UNIT, "pretrained.model.norm."),
    dropped=(".attn_mask", "pretrained.model.head.weight", "pretrained.model.head.bias"),
    fixed_size=(256, 256),
)

DEPTH_ANYTHING_V2_SMALL = Network(
    name="depth_anything_v2_small",
    title="Depth Anything V2 Small",
    encoder="vit_small_patch14_dinov2",
    preprocessing=Preprocessing(
        rule=Rule.LOWER_BOUND, side=518, multiple=14, longest=1036, way_back=WayBack.LINEAR
    ),
    file="depth_anything_v2_vits.pth",
    url=(
        "https://huggingface.co/depth-anything/Depth-Anything-V2-Small/resolve/main/"
        "depth_anything_v2_vits.pth"
    ),
    sha256="715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378",
    megabytes=99,
    code_licence="Apache-2.0",
    weights_licence="Apache-2.0",
    parameters=24_785_089,
    gflop=167.5,
    cost=39.0,
    memory_mb=600,
    tier=Tier.BEST,
    suits="the finest detail for its size, and thin things",
    unused=(f"depth_head.{_UNUSED_UNIT}",),
    dropped=("pretrained.mask_token",),
)

#: By name, the default first.
NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        MIDAS_SMALL,
        MIDAS_LARGE,
        DPT_HYBRID,
        DPT_LARGE,
        DPT_SWIN2_TINY,
        DEPTH_ANYTHING_V2_SMALL,
    )
}


def find_network(name: str) -> Network:
    """Return the network of a name. Raises SettingsError, naming those there are."""
    try:
        return NETWORKS[name]
    except KeyError:
        raise SettingsError(f"There is no model {name!r}. There are {', '.join(NETWORKS)}.") from None


def is_file_model(name: str) -> bool:
    """Return whether a name is one that a model from a file may have: `file:N`."""
    return name.startswith(_FILE) and _FILE_NAME.fullmatch(name.removeprefix(_FILE)) is not None


def file_model_name(name: str) -> str:
    """Return `file:N` for N, or for `file:N`. Raises SettingsError if N cannot be the name of a model."""
    full = _FILE + name.removeprefix(_FILE)
    if not is_file_model(full):
        raise SettingsError(
            f"A model cannot have the name {name!r}: it must be 1 to 63 of a-z, 0-9, '_', '.' and '-', and "
            "begin with a letter or a digit."
        )
    return full
