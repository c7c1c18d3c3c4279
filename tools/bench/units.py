# SPDX-License-Identifier: GPL-2.0-or-later
"""Values written for people."""

import math
import statistics

from . import pinned


def number(value):
    """Three digits, and no more than that many decimals."""
    if not math.isfinite(value):
        return "inf" if value > 0 else "nan"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def value_text(measurement, value):
    """With its unit; a wait that was given up says so."""
    if value is None:
        return "-"
    if measurement.measure == "to target" and value >= pinned.LIMIT_S:
        return f"> {pinned.LIMIT_S} s"
    return f"{number(value)} {measurement.unit}".rstrip()


def spread(ratios):
    """The median of some ratios, and how far they are apart."""
    text = number(statistics.median(ratios))
    if len(ratios) > 1:
        text += f" ({number(min(ratios))} - {number(max(ratios))})"
    return text


def duration(seconds):
    """Minutes once there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
