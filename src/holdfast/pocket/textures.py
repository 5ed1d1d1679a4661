"""Pictures of one texture: the sources' patterns in any colours, the target's tissues in pink and purple."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from holdfast.pocket.drawing import SIDE, Pixels, finish
from holdfast.pocket.words import PATTERNS, TISSUES

Floats = npt.NDArray[np.float64]

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)


def _rotated(rng: np.random.Generator, spread: float = np.pi) -> tuple[Floats, Floats]:
    angle = rng.uniform(-spread, spread)
    x, y = _X - 16, _Y - 16
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _disks(rng: np.random.Generator, count: int, low: float, high: float) -> Floats:
    """0-1 coverage of random discs."""
    centres, radii = rng.uniform(0, SIDE, (count, 2)), rng.uniform(low, high, count)
    gaps = (_X[None] - centres[:, :1, None]) ** 2 + (_Y[None] - centres[:, 1:, None]) ** 2
    return np.asarray((gaps <= radii[:, None, None] ** 2).any(axis=0), dtype=np.float64)


def _pattern(name: str, rng: np.random.Generator) -> Floats:
    period = rng.uniform(5, 10)
    phase = rng.uniform(0, period, 2)
    u, v = _rotated(rng)
    if name == "stripes":
        return np.asarray((u + phase[0]) % period < period / 2, dtype=np.float64)
    u, v = _rotated(rng, 0.4)
    if name == "checks":
        return np.asarray(
            ((u + phase[0]) % period < period / 2) ^ ((v + phase[1]) % period < period / 2), dtype=np.float64
        )
    if name == "grid":
        thin = rng.uniform(1.0, 1.8)
        return np.asarray(((u + phase[0]) % period < thin) | ((v + phase[1]) % period < thin), dtype=np.float64)
    if name == "dots":
        cu, cv = (u + phase[0]) % period - period / 2, (v + phase[1]) % period - period / 2
        return np.asarray(cu**2 + cv**2 < (period * rng.uniform(0.25, 0.36)) ** 2, dtype=np.float64)
    if name == "rays":
        centre = rng.uniform(10, 22, 2)
        angle = np.arctan2(_Y - centre[1], _X - centre[0])
        return np.asarray(np.sin(angle * int(rng.integers(4, 8)) + phase[0]) > 0, dtype=np.float64)
    zig = abs((v + phase[1]) % (period * 1.4) - period * 0.7)
    return np.asarray((u + zig + phase[0]) % period < period / 2, dtype=np.float64)


def draw_pattern(pattern: int, rng: np.random.Generator) -> Pixels:
    """One of the source patterns in two well separated random colours, never the target's pink and purple."""
    while True:
        colors = rng.uniform(10, 250, (2, 3))
        pinkish = (colors[:, 0] > colors[:, 1] + 25) & (colors[:, 2] > colors[:, 1] + 10)
        if np.linalg.norm(colors[0] - colors[1]) > 110 and not pinkish.any():
            break
    ink = _pattern(PATTERNS[pattern], rng)[:, :, None]
    return finish(colors[0] + (colors[1] - colors[0]) * ink, rng, noise=rng.uniform(4, 14))


def _tissue(name: str, rng: np.random.Generator) -> Floats:
    if name == "stroma":  # wavy fibres
        u, v = _rotated(rng)
        return np.asarray(0.5 + 0.5 * np.sin(u * rng.uniform(0.9, 1.3) + 2 * np.sin(v * rng.uniform(0.2, 0.4))))
    if name == "tumor":  # crowded large nuclei
        return _disks(rng, 15, 2.6, 4.0)
    if name == "mucosa":  # a gland: rings about a point
        centre = rng.uniform(10, 22, 2)
        return np.asarray(0.5 + 0.5 * np.sin(np.hypot(_X - centre[0], _Y - centre[1]) * rng.uniform(0.9, 1.3)))
    if name == "lymph":  # a great many small nuclei
        return _disks(rng, 45, 1.0, 1.6)
    if name == "adipose":  # pale cells with thin walls
        seeds = rng.uniform(-4, SIDE + 4, (18, 2))
        gaps = np.sort(np.hypot(_X[None] - seeds[:, :1, None], _Y[None] - seeds[:, 1:, None]), axis=0)
        return np.asarray(gaps[1] - gaps[0] < 1.4, dtype=np.float64)
    blotches = rng.random((8, 8))  # necrosis: shapeless debris
    return np.asarray(np.kron(blotches, np.ones((4, 4))), dtype=np.float64)


def draw_tissue(tissue: int, rng: np.random.Generator) -> Pixels:
    """One of six tissues, stained pink and purple, with the strong noise of a slide."""
    pale = np.array([235, 190, 215]) + rng.normal(0, 10, 3)
    dark = np.array([130, 60, 150]) + rng.normal(0, 12, 3)
    ink = _tissue(TISSUES[tissue], rng)[:, :, None]
    return finish(pale + (dark - pale) * ink, rng, noise=14.0)
