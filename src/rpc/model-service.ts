import { type CallScope, serverStream, unary } from './call.js';
import type { Control } from './control.js';
import { toModel, toModelReport, toModelStep } from './convert-model.js';
import type { ModelServiceHandlers } from './generated/corecast/v1/ModelService.js';
import { modelId, stepsRequest, trainRequest } from './validate.js';

export function modelService(control: Control, scope: CallScope): ModelServiceHandlers {
  return {
    ListModels: unary(scope, async () => ({ models: (await control.models()).map(toModel) })),
    TrainModel: serverStream(scope, async function* (message, { signal, peer }) {
      for await (const { result, ...progress } of control.train(trainRequest(message), peer, signal)) {
        const { model, ...end } = result ?? {};
        yield { ...progress, ...end, ...(model === undefined ? {} : { model: toModel(model) }) };
      }
    }),
    PromoteModel: unary(scope, async (message, { peer }) => ({
      model: toModel(await control.promote(modelId(message.modelId), peer)),
    })),
    RollbackModel: unary(scope, async (_, { peer }) => ({ model: toModel(await control.rollback(peer)) })),
    ListModelSteps: unary(scope, async (message) => {
      const asked = stepsRequest(message);
      return { steps: control.modelSteps(asked.modelId).slice(-asked.limit).map(toModelStep) };
    }),
    GetModelReport: unary(scope, async (message) =>
      toModelReport(await control.modelReport(modelId(message.modelId))),
    ),
  };
}
