"""Lets the site show an `Example:` section as it shows `Examples:`."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Gives the section of an example the name by which it is recognised."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in the docstring."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
