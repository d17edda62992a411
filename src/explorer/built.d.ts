/** The output of the build of this folder: `built.js`. */

/** The document. `<!--{{style}}-->`, `<!--{{script}}-->` and `{{metrics}}` are replaced. */
export const page: string

/** The program of the page. It does not contain `</script>`. */
export const script: string

/** Its style. It does not contain `</style>`. */
export const style: string
