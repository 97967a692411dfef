// Reads raw depth as the workers write it: NumPy's format and portable float maps, each row by row from the top.

/** Read `npy`, version 1.0: little-endian float32, two dimensions, row by row. */
export function readNpy(buffer) {
  const view = new DataView(buffer);
  const headerBytes = view.getUint16(8, true);
  const header = new TextDecoder().decode(new Uint8Array(buffer, 10, headerBytes));
  const shape = /'shape': \((\d+), (\d+)\)/.exec(header);
  if (!header.includes("'<f4'") || header.includes("'fortran_order': True") || !shape) throw new Error("This npy is of another kind.");
  const [height, width] = [Number(shape[1]), Number(shape[2])];
  return { width, height, row: rowsOf(buffer, 10 + headerBytes, width, (y) => y) };
}

/** Read a grayscale portable float map, little-endian, rows from bottom to top. */
export function readPfm(buffer) {
  const head = new TextDecoder("latin1").decode(new Uint8Array(buffer, 0, Math.min(64, buffer.byteLength)));
  const parts = /^Pf\n(\d+) (\d+)\n-[\d.]+\n/.exec(head);
  if (!parts) throw new Error("This pfm is of another kind.");
  const [width, height] = [Number(parts[1]), Number(parts[2])];
  return { width, height, row: rowsOf(buffer, parts[0].length, width, (y) => height - 1 - y) };
}

function rowsOf(buffer, start, width, place) {
  // Copy the bytes, because the numbers may begin at an offset that is not a multiple of four.
  return (y) => {
    const from = start + 4 * width * place(y);
    return new Float32Array(buffer.slice(from, from + 4 * width));
  };
}
