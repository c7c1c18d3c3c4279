# SPDX-License-Identifier: GPL-2.0-or-later
"""
Shows a guest that grows and shrinks: `make demo`, or `python3 -m demo`.

steps.py is the plan, run.py carries it out and checks, screen.py shows it
live, chart.py draws what happened, __main__.py decides the exit status.
"""
