/** A package that the user has installed for the comparison; never a dependency, so nothing is known of its types. */
export async function installed<Shape>(name: string): Promise<Shape | undefined> {
  try {
    return (await import(name)) as Shape;
  } catch (fault) {
    if ((fault as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw fault;
  }
}
