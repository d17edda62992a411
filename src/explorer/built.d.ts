/** What the build makes of this folder: `built.js`. */

/** The document, with `<!--{{style}}-->`, `<!--{{script}}-->` and `{{metrics}}` where these belong. */
export const page: string

/** The program of the page, which has no `</script>` in it. */
export const script: string

/** Its style, which has no `</style>` in it. */
export const style: string
