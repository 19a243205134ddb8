/** What a link to this page holds: model, class and method; never the photo. */

const KEYS = ["model", "class", "versus", "method", "engine", "log"];

/** Return the state that the address holds. */
export function readLink() {
  const found = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEYS.map((key) => [key, found.get(key)]));
}

/** Put a state into the address; what is null or undefined is left out. */
export function writeLink(state) {
  const given = KEYS.filter((key) => state[key] !== null && state[key] !== undefined).map((key) => [key, state[key]]);
  history.replaceState(null, "", `#${new URLSearchParams(given)}`);
}

/** Return a class index from a link, null where it is none. */
export function classOf(text) {
  return /^\d{1,9}$/.test(text ?? "") ? Number(text) : null;
}
