/** The major version of Effect over which a shared test runs. `test/effect4/support/major.ts` takes its place for Effect 4. */
export const major: 3 | 4 = 3
