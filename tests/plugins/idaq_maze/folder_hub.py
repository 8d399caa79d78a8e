"""A hub: a folder, which `folder://PATH` names; as small as a hub can be."""

import shutil
from contextlib import nullcontext
from pathlib import Path

from idaq import ShareError


class FolderHub:
    """The layout of a local root, so that a folder that was pushed to is a root as well."""

    login = "nothing is asked for"

    def __init__(self, url, *, revision, timeout):
        self.url = url
        self._folder = Path(url.partition("://")[2])

    def dataset_ids(self):
        found = self._folder.rglob("data/metadata.json")
        return [path.parent.parent.relative_to(self._folder).as_posix() for path in found]

    def size(self, path):
        file = self._folder / path
        return file.stat().st_size if file.is_file() else None

    def read(self, path, start, stop):
        if stop > (self.size(path) or 0):
            raise ShareError(f"{self.url}/{path} is missing, or ends before byte {stop}")
        with (self._folder / path).open("rb") as file:
            file.seek(start)
            yield file.read(stop - start)

    def alone(self, dataset_id):
        return nullcontext()

    def upload(self, dataset_id, files, progress):
        for file in files:
            target = self._folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.source, target)
            progress(file.size)

    def close(self):
        pass
