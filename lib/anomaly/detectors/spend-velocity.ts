import type { Detector } from '../../../types/detector.d.ts';
import type { Cohort } from '../cohort.ts';
import type { CallerState } from '../state.ts';
import { thresholds } from '../thresholds.ts';
import { velocity } from './velocity.ts';

/** US dollars in far less time than the key and its cohort ever took. @param cohort spend of active key-hours. */
export const spendVelocity = (cohort: Cohort): Detector<CallerState> => velocity({ name: 'spend_velocity', rateOf: ({ spend }) => spend, cohort, least: thresholds.least.spend });
