"""Which splats does each tile hold? Depth-sorted lists, and a slot of its own for every (splat, tile).

Shapes beside parameters: I images, G splats; a slot is a splat in a tile.
"""

from __future__ import annotations

import numpy as np

from sheap.render.compiled import compiled
from sheap.render.splat_rules import TILE


@compiled
def count_tiles(
    start,
    stop,
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px
    first_slots,  # [I, G] int32, within the image; written
    totals,  # [I] int64; written
):
    """Per image in [start, stop): each splat's first slot (one slot a tile) and how many slots the image has."""
    for image in range(start, stop):
        total = 0
        for splat in range(boxes.shape[1]):
            first_slots[image, splat] = total
            left, right, top, bottom = boxes[image, splat]
            if right > left:
                total += ((right - 1) // TILE - left // TILE + 1) * ((bottom - 1) // TILE - top // TILE + 1)
        totals[image] = total


@compiled
def _depth_order(
    boxes,  # [G, 4] int32, one image's
    features,  # [G, 4]
    order,  # [G] int32, as room
    keys,  # [G] uint32, as room
    other_order,  # [G] int32, as room
    other_keys,  # [G] uint32, as room
):
    """Write the drawn splats of one image front to back, equal depths by index, and return their number.

    A radix sort of the bits of float32 depths: positive floats order like integers. Three passes of 11 bits.
    """
    num_drawn = 0
    depth_bits = features.view(np.uint32)
    for splat in range(boxes.shape[0]):
        if boxes[splat, 1] > boxes[splat, 0]:
            order[num_drawn] = splat
            keys[num_drawn] = depth_bits[splat, 0]
            num_drawn += 1
    for step in range(3):
        shift = np.uint32(11 * step)
        starts = np.zeros(2049, np.int64)
        for i in range(num_drawn):
            starts[((keys[i] >> shift) & np.uint32(2047)) + 1] += 1
        for digit in range(2048):
            starts[digit + 1] += starts[digit]
        for i in range(num_drawn):
            digit = (keys[i] >> shift) & np.uint32(2047)
            place = starts[digit]
            starts[digit] += 1
            other_keys[place] = keys[i]
            other_order[place] = order[i]
        keys, other_keys = other_keys, keys
        order, other_order = other_order, order
    return num_drawn, order


@compiled
def fill_tiles(
    start,
    stop,
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px
    features,  # [I, G, 4] depth, normal
    first_slots,  # [I, G] int32, within the image
    image_starts,  # [I + 1] int64, slots before each image
    width,  # px
    height,  # px
    tile_starts,  # [I * tiles + 1] int64, places before each tile; written
    tile_ids,  # [slots] int32, splats tile by tile; written
    tile_slots,  # [slots] int64; written
):
    """Per image in [start, stop): every tile's splats, front to back, and the slot of each (splat, tile)."""
    num_splats = boxes.shape[1]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    order, other_order = np.empty(num_splats, np.int32), np.empty(num_splats, np.int32)
    keys, other_keys = np.empty(num_splats, np.uint32), np.empty(num_splats, np.uint32)
    places = np.empty(tiles_x * tiles_y, np.int64)
    for image in range(start, stop):
        num_drawn, sorted_ids = _depth_order(boxes[image], features[image], order, keys, other_order, other_keys)
        places[:] = 0
        for i in range(num_drawn):
            left, right, top, bottom = boxes[image, sorted_ids[i]]
            for tile_y in range(top // TILE, (bottom - 1) // TILE + 1):
                for tile_x in range(left // TILE, (right - 1) // TILE + 1):
                    places[tile_y * tiles_x + tile_x] += 1
        total = image_starts[image]
        for tile in range(tiles_x * tiles_y):
            tile_starts[image * tiles_x * tiles_y + tile] = total
            total += places[tile]
            places[tile] = tile_starts[image * tiles_x * tiles_y + tile]
        for i in range(num_drawn):
            splat = sorted_ids[i]
            left, right, top, bottom = boxes[image, splat]
            slot = image_starts[image] + first_slots[image, splat]
            for tile_y in range(top // TILE, (bottom - 1) // TILE + 1):
                for tile_x in range(left // TILE, (right - 1) // TILE + 1):
                    place = places[tile_y * tiles_x + tile_x]
                    places[tile_y * tiles_x + tile_x] = place + 1
                    tile_ids[place] = splat
                    tile_slots[place] = slot
                    slot += 1


@compiled
def sum_slots(
    start,
    stop,
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px
    first_slots,  # [I, G] int32, within the image
    image_starts,  # [I + 1] int64, slots before each image
    slot_values,  # [slots]
    sums,  # [I, G]; written
):
    """Splats [start, stop) of all images: one value a slot, summed over each splat's slots in a fixed order."""
    num_splats = boxes.shape[1]
    for item in range(start, stop):
        image, splat = item // num_splats, item % num_splats
        left, right, top, bottom = boxes[image, splat]
        total = 0.0
        if right > left:
            num_slots = ((right - 1) // TILE - left // TILE + 1) * ((bottom - 1) // TILE - top // TILE + 1)
            first = image_starts[image] + first_slots[image, splat]
            for slot in range(first, first + num_slots):
                total += slot_values[slot]
        sums[image, splat] = total
