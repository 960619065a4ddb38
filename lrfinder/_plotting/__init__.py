"""Pictures of range tests and trials, and what a notebook shows.

`curves.py` lays out a picture of sweeps and `trials.py` one of trials, `lines.py` has the numbers,
`marks.py` draws single pieces, and `notebook.py` writes the HTML. May import `suggestion` and what
lies below; matplotlib only inside functions. Read in that order.
"""

from lrfinder._plotting.curves import Picture, draw_pictures, figure_of
from lrfinder._plotting.notebook import figure_html, result_html
from lrfinder._plotting.trials import PAIR_SIZE, draw_trials

__all__ = [
    "PAIR_SIZE",
    "Picture",
    "draw_pictures",
    "draw_trials",
    "figure_html",
    "figure_of",
    "result_html",
]
