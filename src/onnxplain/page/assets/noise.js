/**
 * Normal noise that depends on a key and the place alone: the numbers of onnxplain.native.add_noise, to 1e-6.
 *
 * Philox4x32-10 (Salmon et al. 2011) makes four words of each block, Box and Muller's formula (1958) two numbers of
 * two words. 16 blocks make 64 numbers: word k of block 16 g + j becomes number 64 g + 16 k + j.
 */

/** Return `length` numbers from N(0, 1). */
export function normals(length, [low, high]) {
  const found = new Float32Array(Math.ceil(length / 64) * 64);
  for (let block = 0; block < found.length / 4; block++) {
    const [a, b, c, d] = philox(block, low, high);
    const at = (block >> 4) * 64 + (block & 15);
    [found[at], found[at + 16]] = boxMuller(a, b);
    [found[at + 32], found[at + 48]] = boxMuller(c, d);
  }
  return found.subarray(0, length);
}

function philox(block, low, high) {
  let a = block >>> 0, b = 0, c = 0, d = 0;
  for (let round = 0; round < 10; round++) {
    const p = upper(0xd2511f53, a), q = upper(0xcd9e8d57, c);
    const r = Math.imul(0xd2511f53, a) >>> 0, s = Math.imul(0xcd9e8d57, c) >>> 0;
    [a, b, c, d] = [(q ^ b ^ low) >>> 0, s, (p ^ d ^ high) >>> 0, r];
    low = (low + 0x9e3779b9) >>> 0;
    high = (high + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

/** The upper 32 bits of a product of two numbers of 32 bits. */
function upper(x, y) {
  const xh = x >>> 16, xl = x & 0xffff, yh = y >>> 16, yl = y & 0xffff;
  const first = xh * yl + ((xl * yl) >>> 16), second = xl * yh + (first % 65536);
  return (xh * yh + Math.floor(first / 65536) + Math.floor(second / 65536)) >>> 0;
}

function boxMuller(a, b) {
  const radius = Math.sqrt(-2 * Math.log((a + 0.5) / 2 ** 32)), angle = (2 * Math.PI * b) / 2 ** 32;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}
