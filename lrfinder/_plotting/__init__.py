"""Pictures of range tests, and what a notebook shows.

`curves.py` lays a picture out, `lines.py` has its numbers, `marks.py` draws single pieces, and
`notebook.py` writes the HTML. May import `suggestion` and what lies below; matplotlib only inside
functions. Read in that order.
"""

from lrfinder._plotting.curves import Picture, draw_pictures, figure_of
from lrfinder._plotting.notebook import result_html

__all__ = ["Picture", "draw_pictures", "figure_of", "result_html"]
