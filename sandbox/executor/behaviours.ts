import type { Answer, Behaviour, Setting } from './answer.ts';
import { badWork } from './bad-work.ts';
import { goodWork } from './good-work.ts';
import { laterWork } from './later-work.ts';
import { BadOption } from './options.ts';
import type { AcceptedRun } from './receive.ts';

/** Every path that is understood. */
export const behaviours: readonly Behaviour[] = [...goodWork, ...laterWork, ...badWork];

/** `/status` of `/status/503`. */
export const trunkOf = (path: string): string => `/${path.split('/')[1] ?? ''}`;

/** What the path of a run asks for. */
export async function answerByPath(run: AcceptedRun, setting: Setting): Promise<Answer> {
  const behaviour =
    behaviours.find(({ path }) => path === run.path) ??
    behaviours.find(({ path }) => path.startsWith(`${trunkOf(run.path)}/:`));
  if (!behaviour) return { status: 404, json: { error: 'no such behaviour' } };
  try {
    return await behaviour.answer(run, setting);
  } catch (error) {
    if (error instanceof BadOption) return { status: 400, json: { error: error.message } };
    throw error;
  }
}
