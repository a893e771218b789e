//===- assets.h - The parts of the page that do not depend on the runs ------===//
#ifndef TXC_RUNTIME_COMPARE_ASSETS_H
#define TXC_RUNTIME_COMPARE_ASSETS_H

#include <string_view>

namespace txc::compare {

std::string_view pageTemplate(); // page/page.html
std::string_view pageStyle();    // page/page.css
std::string_view pageScript();   // page/*.js, in the order that CMakeLists.txt gives
std::string_view plotLibrary();  // third_party/uplot
std::string_view plotStyle();
std::string_view plotLicense();

} // namespace txc::compare

#endif // TXC_RUNTIME_COMPARE_ASSETS_H
