"""What h5mapper does in a process of its own: it writes, reads and adds to files, and tells of them in JSON.

python by_h5mapper.py read FILE
python by_h5mapper.py add FILE ID [FEATURE] < data.json
python by_h5mapper.py create FILE SOURCE...
"""

import json
import sys

import h5mapper as h5m
import numpy as np


class Points(h5m.Feature):
    """Loads sources that are numbers."""

    __re__ = r"^\d+$"
    __ds_kwargs__ = {"compression": "gzip"}  # noqa: RUF012  as users of h5mapper write it

    def load(self, source):
        return np.arange(3 * int(source), dtype=np.float32).reshape(-1, 3)


class Both(h5m.Feature):
    """Loads two arrays from each source."""

    def load(self, source):
        return {"length": np.array([len(source)]), "codes": np.array([ord(letter) for letter in source])}


class Made(h5m.TypedFile):
    """What is created."""

    points = Points()
    both = Both()


def plain(data):
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: plain(part) for name, part in data.items()}
    return [str(data.dtype), list(data.shape), data.tolist()]


def arrays(data):
    if isinstance(data, dict):
        return {name: arrays(part) for name, part in data.items()}
    dtype, shape, values = data
    return np.array(values, dtype).reshape(shape)


def read(path):
    file = h5m.TypedFile(path, keep_open=True)
    features = [name for name, proxy in vars(file).items() if isinstance(proxy, h5m.Proxy) and name != "__src__"]
    found = {
        source: {name: plain(file.get_proxy(name).get(source)) for name in features}
        for source in file.__src__.id[:].tolist()
    }
    file.close()
    json.dump(found, sys.stdout)


def add(path, source, *feature):
    file = h5m.TypedFile(path, "r+", keep_open=True)
    target = file.get_proxy(feature[0]) if feature else file
    if feature and target.feature is None:
        target.feature = h5m.Feature()
    target.add(source, arrays(json.load(sys.stdin)))
    file.close()


def create(path, *sources):
    Made.create(path, list(sources), n_workers=1, parallelism="none").close()


if __name__ == "__main__":
    {"read": read, "add": add, "create": create}[sys.argv[1]](*sys.argv[2:])
