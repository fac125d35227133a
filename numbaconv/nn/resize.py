"""Layers that change the number of pixels: resampling, and channels shuffled with pixels."""

from __future__ import annotations

from typing import Any

from .applied import Applied
from .arguments import positive


class Upsample(Applied):
    """Resampling of ``(N, C, *spatial)`` to a size or by a factor; arguments of ``torch.nn.Upsample``.

    See ``functional.interpolate``.
    """

    function = "interpolate"

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__(
            size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners,
            recompute_scale_factor=recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the size or the factor, and the mode."""
        what = f"size={self.size}" if self.size is not None else f"scale_factor={self.scale_factor}"
        return f"{what}, mode={self.mode!r}"


class PixelShuffle(Applied):
    """Channels become pixels: ``(N, C r r, H, W)`` to ``(N, C, H r, W r)``; see ``functional.pixel_shuffle``."""

    function = "pixel_shuffle"

    def __init__(self, upscale_factor: int) -> None:
        super().__init__(upscale_factor=positive("PixelShuffle", "upscale_factor", upscale_factor))


class PixelUnshuffle(Applied):
    """Pixels become channels: ``(N, C, H r, W r)`` to ``(N, C r r, H, W)``; see ``functional.pixel_unshuffle``."""

    function = "pixel_unshuffle"

    def __init__(self, downscale_factor: int) -> None:
        super().__init__(downscale_factor=positive("PixelUnshuffle", "downscale_factor", downscale_factor))


class ChannelShuffle(Applied):
    """Channels of ``groups`` groups dealt out in turn: ``(N, C, *spatial)`` to the same shape.

    See ``functional.channel_shuffle``.
    """

    function = "channel_shuffle"

    def __init__(self, groups: int) -> None:
        super().__init__(groups=positive("ChannelShuffle", "groups", groups))
