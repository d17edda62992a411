/** The major version of Effect over which a shared test runs. */
export const major: 3 | 4 = 4
