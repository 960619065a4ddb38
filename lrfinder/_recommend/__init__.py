"""The recommended rate: a coarse sweep, then trials around its descent.

`search.py` chooses which rates are tried, `trial.py` is one short run, `length.py` scales the
answer to the length of the training to come, `findings.py` puts it into words, and
`recommendation.py` puts it together. May import `_result` and what lies below. Read
`recommendation.py`, `search.py`, `trial.py`.
"""

from lrfinder._recommend.recommendation import Recommendation, recommend
from lrfinder._recommend.trial import Trial

__all__ = ["Recommendation", "Trial", "recommend"]
