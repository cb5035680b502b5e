"""Any images in, one memory-mapped array out; and what is wrong with which file."""

from ganfold.data.imageset import Crops, ImageSet, drawn, load, native
from ganfold.data.sets import load_as
from ganfold.data.sheet import contact_sheet
from ganfold.data.sources.decode import Fit
from ganfold.data.sources.findings import Finding, Findings
from ganfold.data.sources.lookup import BUNDLED, unpack
from ganfold.data.sources.source import Listing, Source

__all__ = [
    "BUNDLED",
    "Crops",
    "Finding",
    "Findings",
    "Fit",
    "ImageSet",
    "Listing",
    "Source",
    "contact_sheet",
    "drawn",
    "load",
    "load_as",
    "native",
    "unpack",
]
