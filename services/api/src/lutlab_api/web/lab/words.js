// Numbers as people type and read them. Nothing here knows of the page or the lab.

export const WORDS_MAX = 2048; // of one run
const WORD_MAX = 0xffffffff;
const NUMBER = /^(0x[0-9a-f][0-9a-f_]*|0b[01][01_]*|[0-9][0-9_]*)$/i;

/** A number in decimal, 0x or 0b, with underscores; throws an error that names it. */
export function number(text, what, most = WORD_MAX) {
  const shown = text.trim();
  const value = NUMBER.test(shown) ? Number(shown.replaceAll("_", "")) : NaN;
  if (!Number.isInteger(value) || value > most) {
    throw new Error(`${what} ${JSON.stringify(shown)} is no number from 0 to ${most === WORD_MAX ? "0xffffffff" : most}, such as 42 or 0x2a`);
  }
  return value;
}

/** A byte address of a word. */
export function address(text) {
  const value = number(text, "the address");
  if (value % 4) throw new Error(`the address ${text.trim()} is not a multiple of 4; a word has four bytes`);
  return value;
}

/** The words of "0x2a 7, 9". */
export function words(text) {
  const pieces = text.split(/[\s,]+/).filter(Boolean);
  if (!pieces.length) throw new Error("type the words to write, such as 0x2a 7");
  if (pieces.length > WORDS_MAX) throw new Error(`${pieces.length} words at once; at most ${WORDS_MAX}`);
  return pieces.map((piece) => number(piece, "the word"));
}

function hex(value, digits) {
  return value.toString(16).padStart(digits, "0");
}

/** Lines of four words, each with its byte address in front. */
export function dump(firstByte, values) {
  const lines = [];
  for (let at = 0; at < values.length; at += 4) {
    const four = values.slice(at, at + 4).map((value) => hex(value, 8));
    lines.push(`${hex(firstByte + 4 * at, 6)}  ${four.join(" ")}`);
  }
  return lines.join("\n");
}
