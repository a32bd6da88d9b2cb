#!/bin/sh
# Unpacks the packages of requirements-no-deps.txt into the site-packages of a Python: sh infra/install_carried_files.sh PYTHON
#
# They are carriers of data files and are never run, so any Python on any machine may have them. pip is told to take the
# wheel for Python 3.12 on Linux: mediapipe, which carries the segmenter, has none for 3.13 or for ARM.
set -eu
python=${1:?the Python to install into}
requirements=$(dirname "$0")/../requirements-no-deps.txt
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -m pip install --quiet --no-deps --upgrade --target "$packages" --only-binary=:all: \
    --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 -r "$requirements"
