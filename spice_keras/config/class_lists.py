"""Named lists of ImageNet classes: the sub-folders that make a published subset."""

from __future__ import annotations

from collections.abc import Mapping

# WordNet 3.0 ids, the names of the folders of ImageNet's training images. Both subsets are
# those of deep adaptive clustering (DAC), which the field has used since.
CLASS_LISTS: Mapping[str, tuple[str, ...]] = {
    "imagenet10": (
        "n02056570", "n02085936", "n02128757", "n02690373", "n02692877",
        "n03095699", "n04254680", "n04285008", "n04467665", "n07747607",
    ),
    "imagenet_dogs": (
        "n02085936", "n02086646", "n02088238", "n02091467", "n02097130",
        "n02099601", "n02101388", "n02101556", "n02102177", "n02105056",
        "n02105412", "n02105855", "n02107142", "n02110958", "n02112137",
    ),
}  # fmt: skip


def expand_classes(value: object) -> object:
    """Return the folders a named list stands for; anything else as it is.

    Args:
        value: The value of `data.classes`.

    Returns:
        The folders' names.

    Raises:
        ValueError: For a name of no list.
    """
    if not isinstance(value, str):
        return value
    if value not in CLASS_LISTS:
        raise ValueError(
            f"a class list is one of {', '.join(CLASS_LISTS)}, or a list of sub-folders' names"
        )
    return CLASS_LISTS[value]


def check_folder_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names that are no single sub-folder, and names given twice."""
    wrong = [name for name in names if "/" in name or name in {"", ".", ".."}]
    if wrong:
        raise ValueError(f"classes are names of sub-folders, not paths: {wrong[0]!r}")
    if not names or len(set(names)) < len(names):
        raise ValueError("classes must be different from one another, and at least one")
    return names
