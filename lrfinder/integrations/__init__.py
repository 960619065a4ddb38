"""The range test and `recommend` inside other frameworks, one module for each framework.

Import a module by its name; `import lrfinder` loads no framework.

```python
from lrfinder.integrations.lightning import range_test
```
"""

# Read `skorch.py` first, the shortest, then `_updates.py`, which runs a framework's own loop one
# optimizer step at a time, then `ignite.py`, `transformers.py`, `lightning.py` and the loop behind
# it in `_lightning_loop.py`. A module may import the whole library, which never imports it.
