"""What the tests of examples see of a page."""

from documents import Block, blocks_in

PAGE = """# Page

```bash
first
```

## Next section

Words.

<!-- example: the second -->
```toml
a = 1

b = 2
```

<!-- not run: it needs a printer -->
```bash
lpr
```
<!-- example: too far above -->

```
plain
```
"""


def test_blocks_have_their_place_language_and_comment() -> None:
    assert list(blocks_in("a.md", PAGE)) == [
        Block("a.md", "", 3, "bash", "first\n"),
        Block("a.md", "Next section", 12, "toml", "a = 1\n\nb = 2\n", example="the second"),
        Block("a.md", "Next section", 19, "bash", "lpr\n", not_run="it needs a printer"),
        Block("a.md", "Next section", 24, "", "plain\n"),
    ]
