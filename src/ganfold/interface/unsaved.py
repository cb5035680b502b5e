"""What to do with images that a script holds in memory, where a path is needed."""

from __future__ import annotations

from typing import Any

IMAGES = ("data", "target", "images", "reference")  # the options that name images


def refusal(name: str, value: Any) -> str:
    """What to give as the option of this name in place of such a value."""
    kind = type(value).__name__
    a_kind = f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
    if name not in IMAGES:
        return f"{name} takes a path, not {a_kind}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        what = f"an array x of {value.dtype} {tuple(value.shape)}"
        return _saved(name, what, f"images={_as_bytes('x', value)}", " (labels=y adds classes)")
    images = "x.dataset" if hasattr(value, "dataset") else "x"
    try:
        first = (value.dataset if hasattr(value, "dataset") else value)[0]
    except Exception:  # a data set of any origin, which may be empty, or have no numbers
        first = None
    if isinstance(first, str) or hasattr(first, "__fspath__"):
        return f"{name} takes one path, not a {kind} of paths: put the files into one folder, and give that folder"
    if first is None and not hasattr(value, "__next__"):
        return f"{name} takes a path, not {a_kind}"
    is_pair = isinstance(first, tuple | list) and len(first) == 2
    each = f"image, label in {images}" if is_pair else f"image in {images}"
    image = first[0] if is_pair else first
    one = _as_bytes("image" if hasattr(image, "dtype") else "numpy.asarray(image)", image)
    labels = f", labels=[label for {each}]" if is_pair else ""
    return _saved(name, f"{a_kind} x", f"images=numpy.stack([{one} for {each}]){labels}")


def _saved(name: str, what: str, arrays: str, more: str = "") -> str:
    return (
        f"{name} takes a path, not {what}: save it with numpy.savez('images.npz', {arrays}){more}, and give "
        "'images.npz', which can be read again later"
    )


def _as_bytes(name: str, array: Any) -> str:
    """The expression that makes uint8 from 0 to 255 of an array or tensor of this name."""
    dtype = str(getattr(array, "dtype", "uint8")).removeprefix("torch.")
    plain = f"{name}.cpu().numpy()" if hasattr(array, "cpu") else name
    if dtype == "uint8":
        return plain
    low, high = (float(array.min()), float(array.max())) if all(array.shape) else (0.0, 255.0)
    if dtype.startswith(("float", "bfloat")) and high <= 1:
        scaled = f"(({plain} + 1) * 127.5)" if low < 0 else f"({plain} * 255)"
        return f"{scaled}.round().astype('uint8')"
    return f"{plain}.astype('uint8')" if high <= 255 else f"({plain} // 257).astype('uint8')"
