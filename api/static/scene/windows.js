// Filters over maps: rows of numbers, with a window of neighbours around each.

/** @typedef {{columns: number, rows: number, values: Float32Array}} Grid */

/** Return for each value what `choose`, such as Math.min, makes of all values within `reach` of it, in a square. */
export function around(/** @type {Grid} */ grid, /** @type {number} */ reach, /** @type {(a: number, b: number) => number} */ choose) {
  return separately(grid, reach, (values, at, first, last, stride) => {
    let chosen = values[at];
    for (let near = first; near <= last; near += stride) chosen = choose(chosen, values[near]);
    return chosen;
  });
}

/** Return the averages of each value and those within `reach` that differ from it by no more than `alike`. */
export function averages(/** @type {Grid} */ grid, /** @type {number} */ reach, /** @type {number} */ alike) {
  return separately(grid, reach, (values, at, first, last, stride) => {
    let [sum, count] = [0, 0];
    for (let near = first; near <= last; near += stride) {
      if (Math.abs(values[near] - values[at]) > alike) continue;
      sum += values[near];
      count += 1;
    }
    return sum / count;
  });
}

/** Filter a map along its rows and then along its columns. `filter` gets the places of the first and the last neighbour. */
function separately({ columns, rows, values }, reach, filter) {
  const across = new Float32Array(values.length);
  for (let y = 0, at = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1, at += 1) {
      across[at] = filter(values, at, at - Math.min(reach, x), at + Math.min(reach, columns - 1 - x), 1);
    }
  }
  const result = new Float32Array(values.length);
  for (let y = 0, at = 0; y < rows; y += 1) {
    const [up, down] = [columns * Math.min(reach, y), columns * Math.min(reach, rows - 1 - y)];
    for (let x = 0; x < columns; x += 1, at += 1) result[at] = filter(across, at, at - up, at + down, columns);
  }
  return result;
}
