/** The longest time that a timer of Node.js waits, in milliseconds. A longer one makes a timer of 1 ms. */
export const longestTimer = 2 ** 31 - 1
