"""The HRNet trunk (Sun et al. 2019, "Deep High-Resolution Representation Learning").

A stem to a quarter of the input, one stage of bottlenecks, then three stages of exchange modules
over two, three and four parallel resolutions. Module names are those of the published
checkpoints, so that these load strictly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hrpose.models.blocks import Bottleneck, ExchangeModule, conv_bn


@dataclass(frozen=True, slots=True)
class HRNetConfig:
    """The few numbers that tell one HRNet from another.

    Attributes:
        width: Channels of the finest branch; each coarser branch doubles them (W32: 32).
        stem: Channels of the two stride-2 stem convolutions.
        planes: Inner channels of the stage-1 bottlenecks, whose output has four times as many.
        bottlenecks: Blocks of stage 1.
        modules: Exchange modules in stages 2, 3 and 4.
        blocks: Residual blocks in each branch of a module.
        upsampling: How modules enlarge coarse maps: ``"nearest"``, or ``"bilinear"`` as in the
            published code for faces, whose checkpoints have the same names and shapes.
    """

    width: int
    stem: int = 64
    planes: int = 64
    bottlenecks: int = 4
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    upsampling: str = "nearest"

    def __post_init__(self) -> None:
        if self.upsampling not in ("nearest", "bilinear"):
            raise ValueError(f"upsampling is {self.upsampling!r}, expected nearest or bilinear")

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four branches, finest (stride 4) first."""
        return (self.width, 2 * self.width, 4 * self.width, 8 * self.width)


def config_of(weights: Mapping[str, Tensor]) -> HRNetConfig:
    """The numbers of the HRNet that weights are of, by their names and shapes.

    How it upsamples cannot be seen in weights; ``"nearest"`` is returned.

    Args:
        weights: With the names of :class:`HRNet`; others do not matter.

    Raises:
        ValueError: They are no HRNet's.
    """

    def count(prefix: str) -> int:
        found = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        return len({m.group(1) for name in weights if (m := found.match(name))})

    try:
        return HRNetConfig(
            width=len(weights["stage2.0.branches.0.0.conv1.weight"]),
            stem=len(weights["conv1.weight"]),
            planes=len(weights["layer1.0.conv1.weight"]),
            bottlenecks=count("layer1"),
            modules=(count("stage2"), count("stage3"), count("stage4")),
            blocks=count("stage2.0.branches.0"),
        )
    except KeyError as error:
        raise ValueError(f"the weights are no HRNet's: {error} is missing") from error


class HRNet(nn.Module):
    """Image to feature maps of strides 4, 8, 16 and 32.

    Args:
        config: The numbers of this network.
        finest_only: Whether only the stride-4 map is computed at the end (V1 pose network).
    """

    def __init__(self, config: HRNetConfig, *, finest_only: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, config.stem, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        self.conv2 = nn.Conv2d(config.stem, config.stem, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(config.stem)
        self.relu = nn.ReLU(inplace=True)
        wide = config.planes * Bottleneck.expansion
        self.layer1 = nn.Sequential(
            Bottleneck(config.stem, config.planes),
            *(Bottleneck(wide, config.planes) for _ in range(config.bottlenecks - 1)),
        )
        channels = config.channels
        self.transition1 = _transition((wide,), channels[:2])
        self.stage2 = _stage(config, branches=2)
        self.transition2 = _transition(channels[:2], channels[:3])
        self.stage3 = _stage(config, branches=3)
        self.transition3 = _transition(channels[:3], channels)
        self.stage4 = _stage(config, branches=4, finest_only=finest_only)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Computes the feature maps.

        Args:
            x: (B, 3, H, W) normalised; H and W are multiples of 32.

        Returns:
            Maps of strides 4, 8, 16, 32, or the first alone for ``finest_only``.
        """
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        maps = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # a new branch starts from the coarsest map there is
            maps = [step(maps[min(i, len(maps) - 1)]) for i, step in enumerate(transition)]
            maps = stage(maps)
        return maps


def _transition(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    """Keeps branches whose channels stay, widens those that change, adds one of half the size."""
    steps: list[nn.Module] = []
    for i, outputs in enumerate(after):
        if i >= len(before):  # nested once more than `conv_bn`, as the published keys are
            steps.append(nn.Sequential(conv_bn(before[-1], outputs, stride=2)))
        else:
            same = before[i] == outputs
            steps.append(nn.Identity() if same else conv_bn(before[i], outputs))
    return nn.ModuleList(steps)


def _stage(config: HRNetConfig, *, branches: int, finest_only: bool = False) -> nn.Sequential:
    count = config.modules[branches - 2]
    return nn.Sequential(
        *(
            ExchangeModule(
                config.channels[:branches],
                config.blocks,
                finest_only=finest_only and i == count - 1,
                upsampling=config.upsampling,
            )
            for i in range(count)
        )
    )
