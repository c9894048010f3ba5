/**
 * What a reload remembers: kept by the tab, gone with it, never written to disk by us.
 */

/** @param {string} key @returns {string | null} */
export function kept(key) {
  return sessionStorage.getItem(`meipo.${key}`);
}

/** @param {string} key @param {string} value */
export function keep(key, value) {
  sessionStorage.setItem(`meipo.${key}`, value);
}
