# SPDX-License-Identifier: GPL-2.0-or-later
"""
Our driver beside the stock one, and beside other ways to resize a guest:
`make bench`, or `python3 -m bench`.

contender.py says who runs, means.py how each is resized, machine.py boots a
guest of one, pattern.py brings its memory into a state.  part.py says what is
measured, count.py counts what does not depend on the machine, run.py takes the
rounds.  results.py keeps the values, goals.py judges them; screen.py and
chart.py show them.
"""
