/** Return the bytes of a .npy file (format 1.0) that holds float32 [height, width]. */
export function npy(values, height, width) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`;
  const header = text.padEnd(Math.ceil((10 + text.length + 1) / 64) * 64 - 11, " ") + "\n";
  const bytes = new Uint8Array(10 + header.length + 4 * values.length), view = new DataView(bytes.buffer);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0]);
  view.setUint16(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), 10);
  values.forEach((value, index) => view.setFloat32(10 + header.length + 4 * index, value, true));
  return bytes;
}
