"""Pictures of range tests and trials, and what a notebook shows.

`curves.py` lays out a picture of sweeps and `trials.py` one of trials, `lines.py` has the numbers,
`marks.py` draws single pieces, and `notebook.py` writes the HTML. May import `suggestion` and what
lies below; matplotlib only inside functions. Read in that order.
"""

from lrfinder._plotting.curves import Picture, draw_pictures, figure_of
from lrfinder._plotting.notebook import figure_html, result_html
from lrfinder._plotting.trials import draw_trials, new_figure

__all__ = [
    "Picture",
    "draw_pictures",
    "draw_trials",
    "figure_html",
    "figure_of",
    "new_figure",
    "result_html",
]
