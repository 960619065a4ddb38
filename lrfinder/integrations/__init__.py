"""The range test and `recommend` inside other frameworks, one module for each framework.

A module may import the whole library and its framework, and is itself imported only by name; the
library never imports it. Read `skorch.py` first, the shortest, then `_updates.py`, which runs a
framework's own loop one optimizer step at a time, then `ignite.py`, `transformers.py`,
`lightning.py` and the loop behind it in `_lightning_loop.py`.

```python
from lrfinder.integrations.lightning import range_test
```
"""
