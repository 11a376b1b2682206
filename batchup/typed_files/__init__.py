"""HDF5 files as Python classes: declare features, create files from sources, add, get, serve."""

from batchup.typed_files.feature import Array, Feature, Group
from batchup.typed_files.features import DirLabels, Image, Sound, String, TensorDict, VShape
from batchup.typed_files.getters import AsFramedSlice, AsSlice, GetId, Getter, Setter
from batchup.typed_files.proxy import Proxy
from batchup.typed_files.serving import Input, Target, serve
from batchup.typed_files.typed_file import TypedFile, as_temp, in_mem, typedfile
from batchup.typed_files.walker import FileWalker

__all__ = [
    "Array",
    "AsFramedSlice",
    "AsSlice",
    "DirLabels",
    "Feature",
    "FileWalker",
    "GetId",
    "Getter",
    "Group",
    "Image",
    "Input",
    "Proxy",
    "Setter",
    "Sound",
    "String",
    "Target",
    "TensorDict",
    "TypedFile",
    "VShape",
    "as_temp",
    "in_mem",
    "serve",
    "typedfile",
]
