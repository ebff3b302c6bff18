// Files that are embedded in the binary (`with { type: 'file' }`): each import is a path.
declare module 'swagger-ui-dist/*' {
  const path: string
  export default path
}
declare module '*.txt' {
  const path: string
  export default path
}
