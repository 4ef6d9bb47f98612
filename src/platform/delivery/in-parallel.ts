/** Works through a list with a few hands; a fault of one item does not stop the others, and is thrown at the end. */
export async function inParallel<T>(items: T[], hands: number, each: (item: T) => Promise<void>): Promise<void> {
  const left = items.values(); // shared by all hands
  const faults: unknown[] = [];
  const hand = async () => {
    for (const item of left) {
      try {
        await each(item);
      } catch (fault) {
        faults.push(fault);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(hands, items.length) }, hand));
  if (faults.length > 0) throw faults[0];
}
