"""The range test inside other frameworks, one module each, imported only by name.

```python
from lrfinder.integrations.lightning import range_test
```
"""
